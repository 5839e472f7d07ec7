/**
 * Refusing parameters of a query that a call does not know, or that come twice: with a misspelt filter it would answer
 * another question than was asked. The OpenAPI document tells which parameters a call knows.
 */
import type { Context } from 'koa';
import { invalid } from '../../shared/contract/errors.js';
import type { RequestContext } from './request-context.js';

interface Operation {
  operationId: string;
  parameters?: readonly { name: string; in: string }[];
}
/** Operations by path and method, as in an OpenAPI document. */
export type Paths = Readonly<Record<string, Readonly<Record<string, Operation>>>>;

/**
 * Returns the check of one request. The route must be known when it is called.
 *
 * The check throws a `SluiceError` `invalid_input` with every parameter that is wrong.
 */
export function createQueryCheck(paths: Paths): (ctx: Context) => void {
  const known = new Map<string, readonly string[]>();
  for (const [path, operations] of Object.entries(paths))
    for (const [method, { parameters = [] }] of Object.entries(operations)) {
      const names = parameters.filter((each) => each.in === 'query').map(({ name }) => name);
      known.set(`${method} ${path.replace(/\{(\w+)\}/g, ':$1')}`, names);
    }

  return (ctx) => {
    if (ctx.querystring === '') return;
    const method = ctx.method === 'HEAD' ? 'get' : ctx.method.toLowerCase();
    const names = known.get(`${method} ${(ctx as RequestContext)._matchedRoute}`) ?? [];
    const unknown = `is no parameter of this call, which takes ${names.join(', ') || 'none'}`;
    const faults = Object.entries(ctx.query).flatMap(([name, value]) => {
      if (!names.includes(name)) return { path: `?${name}`, message: unknown };
      return Array.isArray(value) ? { path: `?${name}`, message: 'must be given once' } : [];
    });
    if (faults.length > 0) throw invalid(faults);
  };
}
