/**
 * Health: `/livez` says that the process answers, `/readyz` that it should be sent requests.
 */
import Router from '@koa/router';

/** `demandReady` rejects with the reason why not. */
export function healthRoutes(demandReady: () => Promise<void>): Router {
  return new Router()
    .get('/livez', (ctx) => {
      ctx.body = { status: 'ok' };
    })
    .get('/readyz', async (ctx) => {
      await demandReady();
      ctx.body = { status: 'ready' };
    });
}
