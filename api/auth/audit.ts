/**
 * Audit: what an operator did, as a line of the log that says who, what and to what.
 */
import type { Context } from 'koa';
import type { Logger } from '../../shared/base/log.js';
import type { RequestState } from '../http/request-context.js';
import { principalOf } from './bearer.js';

/** Called after the act. */
export type Audit = (ctx: Context, act: string, target: Record<string, unknown>) => void;

export function createAudit(log: Logger): Audit {
  return (ctx, act, target) => {
    const { keyId, tenant } = principalOf(ctx);
    const { requestId } = ctx.state as RequestState;
    log.info({ audit: act, keyId, tenant, requestId, ...target }, 'audit');
  };
}
