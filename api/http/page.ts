/**
 * Pages: a list answers `{data, nextCursor}`, newest first, and a caller goes on with `?limit=&cursor=`.
 */
import type { Context } from 'koa';
import { type Fault, invalid } from '../../shared/contract/errors.js';
import { type IdPrefix, isId } from '../../shared/contract/ids.js';
import { query } from './operations.js';

/** Asks for the next `limit` elements of a list after `cursor`, the id of the last one seen. */
export interface PageQuery {
  limit: number;
  cursor: string | undefined;
}

/** The query of a list that is answered page by page. */
export const PAGE_QUERY = query('limit', 'cursor');
/** The query of a list that is answered whole, which takes the parameters of every list. */
export const WHOLE_QUERY = PAGE_QUERY.map((parameter) => ({
  ...parameter,
  description: 'Not needed: all are answered.',
}));

const DEFAULT_LIMIT = 20;
const MAX_LIMIT = 100;
export const NO_CURSOR = 'must be the nextCursor of an earlier page';

/**
 * Returns the page that a caller asks for, `?limit=&cursor=`. A cursor is an id with `prefix`.
 *
 * @throws {SluiceError} `invalid_input` for a limit that is not from 1 to 100, or a cursor that is none
 */
export function parsePage(ctx: Context, prefix: IdPrefix): PageQuery {
  const faults: Fault[] = [];
  const page = pageOf(ctx, prefix, faults);
  if (faults.length > 0) throw invalid(faults);
  return page;
}

/** Returns the page as `parsePage` does, and adds what is wrong with it to `faults`. */
export function pageOf(ctx: Context, prefix: IdPrefix, faults: Fault[]): PageQuery {
  const limit = one(ctx.query.limit) ?? String(DEFAULT_LIMIT);
  if (!/^[1-9]\d{0,2}$/.test(limit) || Number(limit) > MAX_LIMIT)
    faults.push({ path: '?limit', message: `must be an integer from 1 to ${MAX_LIMIT}` });
  const cursor = one(ctx.query.cursor);
  if (cursor !== undefined && !isId(prefix, cursor)) faults.push({ path: '?cursor', message: NO_CURSOR });
  return { limit: Number(limit), cursor };
}

/** Returns the body of a list's answer. A list without a cursor is whole, and no page follows it. */
export function page<T>(
  data: T[],
  nextCursor: string | null = null,
): { data: T[]; nextCursor: string | null } {
  return { data, nextCursor };
}

/** Returns the schema of the body of a list's answer. */
export function pageSchema(item: object) {
  return {
    type: 'object',
    additionalProperties: false,
    required: ['data', 'nextCursor'],
    properties: { data: { type: 'array', items: item }, nextCursor: { type: ['string', 'null'] } },
  };
}

/** Returns the first value of a parameter of a query, undefined where it is not given. */
export function one(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value;
}
