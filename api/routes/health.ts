/**
 * Health: `/livez` says that the process answers, `/readyz` that it should be sent requests.
 */
import Router from '@koa/router';
import type { Clock } from '../../shared/base/clock.js';
import { messageOf, SluiceError } from '../../shared/base/errors.js';
import type { Redis } from '../../shared/base/redis.js';

/** Beyond this the clock of this machine or that of Redis is wrong, and ids would sort wrongly. */
const MAX_SKEW_MS = 30_000;

export function healthRoutes({
  redis,
  clock,
  draining,
}: {
  redis: Redis;
  clock: Clock;
  draining: AbortSignal;
}): Router {
  return new Router()
    .get('/livez', (ctx) => {
      ctx.body = { status: 'ok' };
    })
    .get('/readyz', async (ctx) => {
      if (draining.aborted) throw new SluiceError('shutting_down');
      const [seconds] = await redis.time().catch((error: unknown) => {
        throw new SluiceError('unavailable', `Redis: ${messageOf(error)}`, {
          cause: error,
          retryAfterSeconds: 1,
        });
      });
      const skewMs = Math.abs(Number(seconds) * 1000 - clock.now());
      if (skewMs > MAX_SKEW_MS)
        throw new SluiceError('unavailable', `The clock is ${skewMs} ms off that of Redis.`);
      ctx.body = { status: 'ready' };
    });
}
