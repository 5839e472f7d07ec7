/**
 * The parameters that callers give in queries and headers: filters, waiting times, how to quantize. Each is checked and
 * bounded.
 */
import type { Context } from 'koa';
import { parseTimestamp } from '../../shared/base/clock.js';
import { type Fault, invalid } from '../../shared/contract/errors.js';
import { isId } from '../../shared/contract/ids.js';
import { JOB_STATUSES, type JobStatus } from '../../shared/contract/job.js';
import { NO_TIME } from '../../shared/contract/schema.js';
import { DELIVERY_STATUSES, type ReplayRequest } from '../../shared/contract/webhooks/delivery.js';
import { EVENTS } from '../../shared/contract/webhooks/events.js';
import type { JobFilter } from '../../shared/core/jobs/jobs.js';
import type { QuantizeRequest } from '../../shared/core/models/quantized-upload.js';
import type { DeliveryFilter, ReplayFilter } from '../../shared/core/webhooks/delivery-log.js';
import { query } from './operations.js';
import { NO_CURSOR, one, pageOf } from './page.js';

/** The parameters by which a request is held, which `waitMsOf` reads. */
export const HOLD = [
  {
    name: 'Prefer',
    in: 'header',
    schema: { type: 'string' },
    description: '`wait=10`: seconds to hold the request (RFC 7240); `wait` alone: as long as one is held.',
  },
  {
    name: 'wait',
    in: 'query',
    schema: { type: 'integer', minimum: 0 },
    description: 'Seconds to hold the request.',
  },
];

/** How long `Prefer: wait` without a number waits. */
const DEFAULT_WAIT_SECONDS = 60;

/**
 * Returns how long the caller wants to wait, in milliseconds: `?wait=30` or `Prefer: wait=30` (RFC 7240), 0 when neither is
 * given, and at most `maxSeconds`.
 *
 * @throws {SluiceError} `invalid_input` for a `wait` in the query that is no number
 */
export function waitMsOf(ctx: Context, maxSeconds: number): number {
  const query = one(ctx.query.wait);
  if (query !== undefined && !/^\d{1,6}$/.test(query))
    throw invalid([{ path: '?wait', message: 'must be a number of seconds' }]);
  const seconds = query === undefined ? preferredSeconds(ctx.get('prefer')) : Number(query);
  return Math.min(seconds, maxSeconds) * 1000;
}

/** A preference of RFC 7240, section 2; what follows it up to the next comma are its parameters. */
const PREFERENCE =
  /([\w!#$%&'*+.^`|~-]+)\s*(?:=\s*("(?:[^"\\]|\\.)*"|[^\s,;"]*))?(?:"(?:[^"\\]|\\.)*"|[^,"])*/g;

/** Returns the seconds of the first `wait`. A preference that is not understood is ignored. */
function preferredSeconds(prefer: string): number {
  const wait = [...prefer.matchAll(PREFERENCE)].find(([, name]) => name?.toLowerCase() === 'wait');
  if (!wait) return 0;
  const value = wait[2]?.replaceAll('"', '') ?? '';
  // An empty value is the same as none.
  if (value === '') return DEFAULT_WAIT_SECONDS;
  return /^\d{1,6}$/.test(value) ? Number(value) : 0;
}

/** The query of a list of jobs, which `parseJobFilter` reads. */
export const JOB_QUERY = query('status', 'model', 'from', 'to', 'limit', 'cursor');

/**
 * Returns the filter of a list of jobs: `?status=&model=&from=&to=&limit=&cursor=`.
 *
 * @throws {SluiceError} `invalid_input` with every parameter that is wrong
 */
export function parseJobFilter(ctx: Context, defaultStatus?: JobStatus): JobFilter {
  const faults: Fault[] = [];
  const status = oneOf(JOB_STATUSES, one(ctx.query.status) ?? defaultStatus, '?status', faults);
  const page = pageOf(ctx, 'job', faults);
  const from = timeOf(one(ctx.query.from), '?from', faults);
  const to = timeOf(one(ctx.query.to), '?to', faults);
  if (faults.length > 0) throw invalid(faults);
  return {
    status,
    model: one(ctx.query.model),
    from,
    to,
    ...page,
  };
}

/** The query of a list of deliveries, which `parseDeliveryFilter` reads. */
export const DELIVERY_QUERY = query('status', 'type', 'from', 'to', 'limit', 'cursor');

/**
 * Returns the filter of a list of deliveries: `?status=&type=&from=&to=&limit=&cursor=`.
 *
 * @throws {SluiceError} `invalid_input` with every parameter that is wrong
 */
export function parseDeliveryFilter(ctx: Context): DeliveryFilter {
  const faults: Fault[] = [];
  const filter = {
    status: oneOf(DELIVERY_STATUSES, one(ctx.query.status), '?status', faults),
    type: oneOf([...EVENTS, 'endpoint.test'] as const, one(ctx.query.type), '?type', faults),
    from: timeOf(one(ctx.query.from), '?from', faults),
    to: timeOf(one(ctx.query.to), '?to', faults),
    ...pageOf(ctx, 'dlv', faults),
  };
  checkOrder(filter, '?to', faults);
  if (faults.length > 0) throw invalid(faults);
  return filter;
}

/**
 * Returns the filter of the deliveries that a body asks to have replayed; the failed ones unless it says otherwise.
 *
 * @throws {SluiceError} `invalid_input` for a wrong cursor or a `to` before `from`
 */
export function parseReplay({ from, to, status = 'failed', cursor }: ReplayRequest): ReplayFilter {
  const faults: Fault[] = [];
  const filter = {
    status,
    from: parseTimestamp(from),
    to: to === undefined ? to : parseTimestamp(to),
    cursor,
  };
  if (cursor !== undefined && !isId('dlv', cursor)) faults.push({ path: '/cursor', message: NO_CURSOR });
  checkOrder(filter, '/to', faults);
  if (faults.length > 0) throw invalid(faults);
  return filter;
}

function checkOrder({ from, to }: Pick<DeliveryFilter, 'from' | 'to'>, path: string, faults: Fault[]): void {
  if (from !== undefined && to !== undefined && to < from)
    faults.push({ path, message: 'must not be before `from`' });
}

function oneOf<T extends string>(
  values: readonly T[],
  text: string | undefined,
  path: string,
  faults: Fault[],
): T | undefined {
  const value = values.find((each) => each === text);
  if (text !== undefined && value === undefined)
    faults.push({ path, message: `must be one of ${values.join(', ')}` });
  return value;
}

const QUANTIZED = ['float16', 'uint8'] as const;
const DEFAULT_TOLERANCE = 0.01;

/**
 * Returns how an upload is to be quantized, `?quantize=float16|uint8&tolerance=0.01`; undefined when it is not.
 *
 * @throws {SluiceError} `invalid_input`
 */
export function quantizeOf(ctx: Context): QuantizeRequest | undefined {
  const [asked, text] = [one(ctx.query.quantize), one(ctx.query.tolerance)];
  if (asked === undefined && text === undefined) return undefined;
  const dtype = QUANTIZED.find((each) => each === asked);
  if (!dtype) throw invalid([{ path: '?quantize', message: `must be one of ${QUANTIZED.join(', ')}` }]);
  const tolerance = Number(text ?? DEFAULT_TOLERANCE);
  if (!(tolerance > 0 && tolerance <= 1))
    throw invalid([{ path: '?tolerance', message: 'must be above 0 and at most 1' }]);
  return { dtype, tolerance };
}

/**
 * Returns the value of a parameter that is true or false; false where it is missing.
 *
 * @throws {SluiceError} `invalid_input`
 */
export function booleanOf(ctx: Context, name: string): boolean {
  const text = one(ctx.query[name]) ?? 'false';
  if (text !== 'true' && text !== 'false')
    throw invalid([{ path: `?${name}`, message: 'must be true or false' }]);
  return text === 'true';
}

function timeOf(text: string | undefined, path: string, faults: Fault[]): number | undefined {
  if (text === undefined) return undefined;
  const epochMs = parseTimestamp(text);
  if (Number.isNaN(epochMs)) faults.push({ path, message: NO_TIME });
  return epochMs;
}
