/**
 * Authentication by API key (RFC 6750, bearer) and authorisation by scope. The query is checked after both, so that a caller
 * without rights learns nothing about it.
 */
import type { Context, Middleware } from 'koa';
import { mayUse, type Principal, type Scope } from '../../shared/contract/access.js';
import { SluiceError } from '../../shared/contract/errors.js';
import type { ApiKeys } from '../../shared/core/access/api-keys.js';
import type { RequestContext, RequestState } from '../http/request-context.js';

/**
 * Returns the middleware that lets a request pass if its key has `scope`.
 *
 * The middleware throws a `SluiceError`: `unauthenticated` without a valid key, `insufficient_scope` when the key lacks the
 * scope.
 */
export type BearerAuth = (scope: Scope) => Middleware;

/** Returns the authentication by the keys of `apiKeys`; `checkQuery` throws the faults of a query. */
export function createBearerAuth(apiKeys: ApiKeys, checkQuery: (ctx: Context) => void): BearerAuth {
  return (scope) =>
    async function authenticated(ctx, next) {
      const [, key] = /^Bearer ([\x21-\x7e]+)$/i.exec(ctx.get('authorization')) ?? [];
      const principal = key ? await apiKeys.authenticate(key) : null;
      if (!principal) throw new SluiceError('unauthenticated');
      if (!mayUse(principal, scope))
        throw new SluiceError('insufficient_scope', `This call needs the scope ${scope}.`);
      (ctx.state as RequestState).principal = principal;
      checkQuery(ctx);
      await next();
    };
}

/** Returns the caller of a request. The route must have authenticated it. */
export function principalOf(ctx: { state: unknown }): Principal {
  const { principal } = (ctx as RequestContext).state;
  if (!principal) throw new Error('The route does not authenticate. This is a bug.');
  return principal;
}
