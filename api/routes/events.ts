/**
 * The route of events: `GET /v1/jobs/{id}/events` tells the life of a job as Server-Sent Events (HTML Standard, section 9.2).
 */
import type Router from '@koa/router';
import type { Context } from 'koa';
import { SluiceError } from '../../shared/contract/errors.js';
import { isId } from '../../shared/contract/ids.js';
import { type BearerAuth, principalOf } from '../auth/bearer.js';
import { isLast, resumePosition } from '../follow/job-events.js';
import type { JobFeed } from '../follow/job-feed.js';
import type { SseStreams } from '../follow/sse.js';
import { ID, type Operations, routesOf } from '../http/operations.js';

export interface EventRoutesDeps {
  jobFeed: JobFeed;
  sseStreams: SseStreams;
  auth: BearerAuth;
}

const LAST_EVENT_ID = {
  name: 'Last-Event-ID',
  in: 'header',
  schema: { type: 'string' },
  description: '`id` of the last event seen: goes on after it.',
};

export const eventOperations = {
  'get /v1/jobs/{id}/events': {
    operationId: 'followJob',
    summary: 'Follow a job to its end by Server-Sent Events',
    scope: 'jobs:read',
    description:
      '`status` of the present state and of each change, `progress` while it runs in several slices, last `done` ' +
      'with the job as `getJob` shows it, then the stream ends.',
    parameters: [ID, LAST_EVENT_ID],
    responses: {
      200: {
        description: 'The events.',
        content: { 'text/event-stream': { schema: { type: 'string' } } },
      },
      204: { description: 'All events were seen: `done` was the last.' },
    },
  },
} as const satisfies Operations;

/** Returns the route. It refuses a job that does not exist, or belongs to another tenant, with `not_found`. */
export function eventRoutes({ jobFeed, sseStreams, auth }: EventRoutesDeps): Router {
  async function events(ctx: Context & { params: { id: string } }): Promise<void> {
    const { tenant } = principalOf(ctx);
    const { id } = ctx.params;
    if (!isId('job', id)) throw noSuchJob();
    // The stream follows the job before the job is read, so that no change is missed in between.
    const stream = sseStreams.open(tenant, id, ctx.res);
    let begun = false;
    try {
      const job = await jobFeed.read(tenant, id);
      if (!job) throw noSuchJob();
      const after = resumePosition(ctx.get('last-event-id'), job.record);
      begun = answerHead(ctx, isLast(after, job.record));
      if (begun) stream.begin(job, after);
    } finally {
      if (!begun) stream.release();
    }
  }

  return routesOf(eventOperations, auth, { 'get /v1/jobs/{id}/events': events });
}

/** Answers the head and returns whether events follow. Status 204 tells an EventSource to stop resuming. */
function answerHead(ctx: Context, isOver: boolean): boolean {
  ctx.status = isOver ? 204 : 200;
  if (isOver) return false;
  // `X-Accel-Buffering` keeps proxies from holding events back. The connection ends with the events, so draining need not wait.
  ctx.set({ 'Content-Type': 'text/event-stream', 'X-Accel-Buffering': 'no', Connection: 'close' });
  if (ctx.method === 'HEAD') return false;
  ctx.respond = false;
  return true;
}

function noSuchJob(): SluiceError {
  return new SluiceError('not_found', 'There is no such job.');
}
