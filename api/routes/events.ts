/**
 * Routes of events: `GET /v1/jobs/{id}/events` tells the life of a job as Server-Sent Events (HTML Standard, section 9.2), to
 * a caller with an API key or with a signed address, because the EventSource of a browser sends no header of its own.
 */
import type Router from '@koa/router';
import type { Context } from 'koa';
import { toTimestamp } from '../../shared/base/clock.js';
import { compileThoroughGuard } from '../../shared/contract/schema.js';
import {
  addressSeconds,
  type Grant,
  type SignedAddressView,
  signAddressSchema,
} from '../../shared/contract/signed-address.js';
import type { Core } from '../../shared/core/compose.js';
import { type BearerAuth, principalOf } from '../auth/bearer.js';
import { jobIdOf, noSuchJob } from '../follow/job-answers.js';
import { isLast, resumePosition } from '../follow/job-events.js';
import type { JobFeed } from '../follow/job-feed.js';
import type { SseStreams } from '../follow/sse.js';
import { type BodyLimits, readOptionalJson } from '../http/json-body.js';
import {
  ID,
  isSigned,
  json,
  KEY_OR_ADDRESS,
  type Operations,
  ref,
  routesOf,
  SIGNED_QUERY,
} from '../http/operations.js';

export interface EventRoutesDeps {
  core: Pick<Core, 'jobs' | 'signedAddresses'>;
  jobFeed: JobFeed;
  sseStreams: SseStreams;
  auth: BearerAuth;
  bodyLimits: BodyLimits;
}

type EventContext = Context & { params: { id: string } };

const guardSign = compileThoroughGuard(signAddressSchema);

const LAST_EVENT_ID = {
  name: 'Last-Event-ID',
  in: 'header',
  schema: { type: 'string' },
  description: '`id` of the last event seen: goes on after it.',
};

export const eventOperations = {
  'get /v1/jobs/{id}/events': {
    operationId: 'followJob',
    summary: 'Follow a job to its end by Server-Sent Events, with an API key or by a signed address',
    scope: null,
    security: KEY_OR_ADDRESS,
    description:
      '`status` of the present state and of each change, `progress` while it runs in several slices, last `done` ' +
      'with the job as `getJob` shows it, then the stream ends. The key needs `jobs:read`.',
    parameters: [ID, ...SIGNED_QUERY, LAST_EVENT_ID],
    responses: {
      200: {
        description: 'The events.',
        content: { 'text/event-stream': { schema: { type: 'string' } } },
      },
      204: { description: 'All events were seen: `done` was the last.' },
    },
  },
  'post /v1/jobs/{id}/events/sign': {
    operationId: 'signJobEvents',
    summary: 'Sign an address of the events of a job, for callers without an API key such as an EventSource',
    scope: 'jobs:read',
    description:
      'Until `expiresAt` whoever has the address can open the stream and resume it, and so see the result of the job. ' +
      'A stream that is open then goes on. The body may be left out.',
    parameters: [ID],
    requestBody: { content: { 'application/json': { schema: ref('SignAddress') } } },
    responses: { 201: json('The address.', ref('SignedAddress')) },
  },
} as const satisfies Operations;

/** Returns the routes. They refuse a job that does not exist, or belongs to another tenant, with `not_found`. */
export function eventRoutes({ core, jobFeed, sseStreams, auth, bodyLimits }: EventRoutesDeps): Router {
  const { jobs, signedAddresses } = core;
  const authRead = auth('jobs:read');

  async function sign(ctx: EventContext): Promise<void> {
    const seconds = addressSeconds(guardSign(await readOptionalJson(ctx, bodyLimits)));
    const { tenant } = principalOf(ctx);
    const id = jobIdOf(ctx);
    if (!(await jobs.get(tenant, id))) throw noSuchJob();
    const { expires, signature } = await signedAddresses.sign(eventsOfJob(id, tenant), seconds);
    ctx.status = 201;
    ctx.body = {
      url: `/v1/jobs/${id}/events?expires=${expires}&signature=${signature}`,
      expiresAt: toTimestamp(Number(expires) * 1000),
    } satisfies SignedAddressView;
  }

  /** A signed address takes the place of an API key. */
  async function authAndFollow(ctx: EventContext): Promise<void> {
    if (isSigned(ctx)) await follow(ctx, await tenantOfSigned(ctx));
    else await authRead(ctx, () => follow(ctx, principalOf(ctx).tenant));
  }

  async function tenantOfSigned(ctx: EventContext): Promise<string> {
    const id = jobIdOf(ctx);
    const tenant = await jobs.tenantOf(id);
    if (tenant === null || !(await signedAddresses.allows(eventsOfJob(id, tenant), ctx.query)))
      throw noSuchJob();
    return tenant;
  }

  async function follow(ctx: EventContext, tenant: string): Promise<void> {
    const id = jobIdOf(ctx);
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

  return routesOf(eventOperations, auth, {
    'get /v1/jobs/{id}/events': authAndFollow,
    'post /v1/jobs/{id}/events/sign': sign,
  });
}

function eventsOfJob(id: string, tenant: string): Grant {
  return { act: 'events', key: id, tenant };
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
