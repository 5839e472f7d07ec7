/**
 * The contract for machines: `GET /openapi.json`.
 */
import Router from '@koa/router';
import { openApiDocument } from '../openapi/document.js';

export function docRoutes(limits: { maxInstances: number }): Router {
  const document = JSON.stringify(openApiDocument(limits));
  return new Router().get('/openapi.json', (ctx) => {
    ctx.type = 'application/json';
    ctx.body = document;
  });
}
