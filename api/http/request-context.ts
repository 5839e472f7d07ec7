/**
 * The frame of every request: its id, its place in the metrics, and the time in which its body must arrive.
 */
import type { Context, Middleware } from 'koa';
import { Counter, Histogram, type Registry } from 'prom-client';
import type { Clock } from '../../shared/base/clock.js';
import type { Principal } from '../../shared/contract/access.js';
import { newId } from '../../shared/contract/ids.js';

export interface RequestState {
  requestId: string;
  /** Lifts the bound on the time of the body. */
  unboundBody?: () => void;
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
    boundBody(ctx, clock);
    await next();
    unboundBody(ctx);
    if (!ctx.req.complete) boundBody(ctx, clock);
    const route = (ctx as RequestContext)._matchedRoute ?? 'none';
    const method = METHODS.has(ctx.method) ? ctx.method : 'other';
    requests.inc({ method, route, status: ctx.status });
    seconds.observe({ route }, (clock.monotonic() - startedMs) / 1000);
  };
}

/** A body must arrive within this time, unless its route bounds it otherwise. */
const BODY_MS = 10_000;
/** The same answer as that of Node where Node keeps the bound. */
const TIMED_OUT = 'HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n';

/** Bounds the time of the body. After the answer, the rest of a body is read and dropped for the same time. */
function boundBody(ctx: Context, clock: Clock): void {
  const { req, res } = ctx;
  if (req.headers['content-length'] === undefined && req.headers['transfer-encoding'] === undefined) return;
  ctx.state.unboundBody = clock.after(BODY_MS, () => {
    if (req.complete) return;
    if (!res.headersSent) req.socket.write(TIMED_OUT);
    req.socket.destroySoon();
  });
}

/** Lifts the bound for a route that bounds its body by itself. */
export function unboundBody(ctx: { state: unknown }): void {
  (ctx.state as RequestState).unboundBody?.();
}
