/**
 * The frame of every request: its id, its place in the metrics, and how its body arrives.
 */
import type { Context, Middleware } from 'koa';
import { Counter, Histogram, type Registry } from 'prom-client';
import type { Clock } from '../../shared/base/clock.js';
import type { Principal } from '../../shared/contract/access.js';
import { newId } from '../../shared/contract/ids.js';
import { type BodyState, createBodyArrival } from './body-arrival.js';

export interface RequestState extends BodyState {
  requestId: string;
  /** The caller, once it has authenticated. */
  principal?: Principal;
}

export type RequestContext = Context & { state: RequestState; _matchedRoute?: string };

/** Methods that have a label of their own. A caller can invent others, so those share one. */
const METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);
/** The form of an X-Request-Id that is taken over. A request with any other gets an id of ours. */
const REQUEST_ID = /^[A-Za-z0-9._-]{1,128}$/;

/** Returns the middleware that frames every request. */
export function requestContext({ clock, registry }: { clock: Clock; registry: Registry }): Middleware {
  const registers = [registry];
  const labelNames = ['method', 'route', 'status'];
  const requests = new Counter({
    name: 'sluice_http_requests_total',
    help: 'Requests answered; route: its pattern, or none.',
    labelNames,
    registers,
  });
  const seconds = new Histogram({
    name: 'sluice_http_request_seconds',
    help: 'Time from the head of a request to its answer, held requests included.',
    labelNames: ['route'],
    buckets: [0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30, 60],
    registers,
  });

  return async function withContext(ctx, next) {
    const startedMs = clock.monotonic();
    const asked = ctx.get('x-request-id');
    const requestId = REQUEST_ID.test(asked) ? asked : newId('req', clock.now());
    ctx.state.requestId = requestId;
    ctx.set({ 'X-Request-Id': requestId, 'X-Content-Type-Options': 'nosniff', 'Cache-Control': 'no-store' });
    const body = createBodyArrival(ctx, clock);
    ctx.state.beginBody = body.begin;
    await next();
    body.dropRest();
    const route = (ctx as RequestContext)._matchedRoute ?? 'none';
    const method = METHODS.has(ctx.method) ? ctx.method : 'other';
    requests.inc({ method, route, status: ctx.status });
    seconds.observe({ route }, (clock.monotonic() - startedMs) / 1000);
  };
}
