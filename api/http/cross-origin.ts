/**
 * Cross-origin requests: which pages of browsers may read answers (the CORS protocol of the Fetch standard).
 *
 * An API key travels in a header that a page sets by itself, never in a cookie, so no page gets more than the key that it has.
 * `@koa/cors` writes the headers (decisions.md, API-60).
 */
import cors from '@koa/cors';
import type { Middleware } from 'koa';

/** The headers of answers that a script may read; browsers show it a few others at any rate. */
const EXPOSED = [
  ...['Location', 'ETag', 'Retry-After', 'X-Request-Id', 'Idempotent-Replayed', 'WWW-Authenticate', 'Allow'],
  ...['Accept-Ranges', 'Content-Range', 'Content-Disposition'],
];
const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'];
/** How long a browser may keep the answer to a preflight. */
const MAX_AGE_SECONDS = 600;

/**
 * Returns the middleware that lets pages of these origins read answers, refusals too.
 *
 * @param origins such as `https://app.example.com`, compared as they stand; `*` is any
 */
export function crossOrigin(origins: readonly string[]): Middleware {
  const isAny = origins.includes('*');
  return cors({
    // An empty origin is none: the page may not read the answer.
    origin: (ctx) => (isAny ? '*' : (origins.find((each) => each === ctx.get('Origin')) ?? '')),
    allowMethods: METHODS,
    exposeHeaders: EXPOSED,
    maxAge: MAX_AGE_SECONDS,
  });
}
