/**
 * Health: `/livez` tells whether the process answers, `/readyz` whether it should be sent requests.
 */
import type Router from '@koa/router';
import { json, type Operations, routesOf } from '../http/operations.js';

const statusSchema = (status: string) => ({
  type: 'object',
  additionalProperties: false,
  required: ['status'],
  properties: { status: { const: status } },
});

export const healthOperations = {
  'get /livez': {
    operationId: 'livez',
    summary: 'Whether the process answers',
    scope: null,
    responses: { 200: json('It does.', statusSchema('ok')) },
  },
  'get /readyz': {
    operationId: 'readyz',
    summary: 'Whether to send it requests',
    scope: null,
    responses: { 200: json('Yes.', statusSchema('ready')) },
  },
} as const satisfies Operations;

/** Returns the routes of health. `demandReady` rejects with the reason why the process should get no requests. */
export function healthRoutes(demandReady: () => Promise<void>): Router {
  return routesOf(healthOperations, null, {
    'get /livez': (ctx) => {
      ctx.body = { status: 'ok' };
    },
    'get /readyz': async (ctx) => {
      await demandReady();
      ctx.body = { status: 'ready' };
    },
  });
}
