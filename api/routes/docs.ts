/**
 * The contract for machines: `GET /openapi.json`.
 */
import Router from '@koa/router';

export function docRoutes(document: object): Router {
  const text = JSON.stringify(document);
  return new Router().get('/openapi.json', (ctx) => {
    ctx.type = 'application/json';
    ctx.body = text;
  });
}
