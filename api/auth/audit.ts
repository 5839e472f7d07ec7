/**
 * The audit: each act of an operator becomes a line of the log that says who did what to which thing.
 */
import type { Context } from 'koa';
import type { Logger } from '../../shared/base/log.js';
import type { RequestState } from '../http/request-context.js';
import { principalOf } from './bearer.js';

/** Records an act after it is done; `target` names the things that it changed. */
export type Audit = (ctx: Context, act: string, target: Record<string, unknown>) => void;

/** Returns the audit that writes to `log`. */
export function createAudit(log: Logger): Audit {
  return (ctx, act, target) => {
    const { keyId, tenant } = principalOf(ctx);
    const { requestId } = ctx.state as RequestState;
    log.info({ audit: act, keyId, tenant, requestId, ...target }, 'audit');
  };
}
