/**
 * The contract for machines: `GET /openapi.json`.
 */
import type Router from '@koa/router';
import { json, type Operations, routesOf } from '../http/operations.js';

export const docOperations = {
  'get /openapi.json': {
    operationId: 'openapi',
    summary: 'This document',
    scope: null,
    responses: { 200: json('The document.', { type: 'object' }) },
  },
} as const satisfies Operations;

/** Returns the route of the OpenAPI document. */
export function docRoutes(document: object): Router {
  const text = JSON.stringify(document);
  return routesOf(docOperations, null, {
    'get /openapi.json': (ctx) => {
      ctx.type = 'application/json';
      ctx.body = text;
    },
  });
}
