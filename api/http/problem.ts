/**
 * Errors on the wire: problem details (RFC 9457) from the closed table, never with a stack.
 */
import type { Middleware } from 'koa';
import type { Logger } from '../../shared/base/log.js';
import { ERROR_CODES, ERRORS, type ErrorCode, SluiceError } from '../../shared/contract/errors.js';
import type { JsonSchema, TypeOf } from '../../shared/contract/schema.js';
import { isRedisFailure } from '../../shared/redis/failures.js';
import type { RequestState } from './request-context.js';

export const problemSchema = {
  type: 'object',
  required: ['type', 'title', 'status', 'detail', 'instance', 'code', 'retryable', 'requestId'],
  additionalProperties: false,
  properties: {
    type: { type: 'string' },
    title: { type: 'string' },
    status: { type: 'integer' },
    detail: { type: 'string' },
    instance: { type: 'string' },
    code: { enum: ERROR_CODES },
    retryable: { type: 'boolean' },
    requestId: { type: 'string' },
    errors: {
      type: 'array',
      items: {
        type: 'object',
        required: ['path', 'message'],
        additionalProperties: false,
        properties: { path: { type: 'string' }, message: { type: 'string' } },
      },
    },
  },
} as const satisfies JsonSchema;

/** The error of one item among the results of a call, as `presentError` makes it. */
export const itemErrorSchema = {
  type: 'object',
  additionalProperties: false,
  required: ['code', 'message', 'retryable'],
  properties: {
    code: { enum: ERROR_CODES },
    message: { type: 'string' },
    retryable: { type: 'boolean' },
    retryAfterSeconds: { type: 'integer' },
    errors: { ...problemSchema.properties.errors, description: 'Paths begin at the item.' },
  },
} as const satisfies JsonSchema;

/** Returns the middleware that answers errors as problems. Errors of the service itself go to the log as well. */
export function problems(log: Logger): Middleware {
  return async function asProblem(ctx, next) {
    try {
      await next();
      if (ctx.status === 404 && ctx.body === undefined) throw new SluiceError('not_found');
    } catch (thrown) {
      const error = toSluiceError(thrown);
      const state = ctx.state as RequestState;
      if (error.status >= 500) log.error({ err: thrown, requestId: state.requestId }, error.code);
      ctx.status = error.status;
      if (error.code === 'unauthenticated') ctx.set('WWW-Authenticate', 'Bearer');
      if (error.retryAfterSeconds !== undefined) ctx.set('Retry-After', String(error.retryAfterSeconds));
      ctx.body = problemOf(error, ctx.path, state.requestId);
      ctx.type = 'application/problem+json';
    }
  };
}

/** Returns the body that tells of an error: RFC 9457, with `code`, `retryable`, `requestId` and the faults beside it. */
export function problemOf(
  error: SluiceError,
  instance: string,
  requestId: string,
): TypeOf<typeof problemSchema> {
  return {
    type: `urn:sluice:error:${error.code}`,
    title: ERRORS[error.code].title,
    status: error.status,
    detail: error.message,
    instance,
    code: error.code,
    retryable: error.retryable,
    requestId,
    ...(error.faults.length > 0 ? { errors: [...error.faults] } : {}),
  };
}

/** The codes for statuses that libraries below the routes throw. */
const BY_STATUS: Readonly<Record<number, ErrorCode>> = {
  400: 'malformed_request',
  404: 'not_found',
  405: 'method_not_allowed',
  413: 'body_too_large',
  415: 'unsupported_media_type',
};

/** Returns the error of the table that answers whatever was thrown. */
export function toSluiceError(thrown: unknown): SluiceError {
  if (thrown instanceof SluiceError) return thrown;
  if (isRedisFailure(thrown))
    return new SluiceError('unavailable', undefined, { retryAfterSeconds: 1, cause: thrown });
  const status = (thrown as { status?: unknown }).status;
  const code = typeof status === 'number' ? BY_STATUS[status] : undefined;
  return new SluiceError(code ?? 'internal', undefined, { cause: thrown });
}
