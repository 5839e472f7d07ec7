/**
 * Operations: each route is made from its operation, the part of the OpenAPI document that describes it. So neither exists
 * without the other, and the document is collected from the routes.
 */
import Router from '@koa/router';
import type { Context, Middleware } from 'koa';
import type { Scope } from '../../shared/contract/access.js';

interface Parameter {
  name: string;
  in: string;
  required?: boolean;
  description?: string;
  schema: object;
}

/** An operation of OpenAPI 3.1, and the scope that a caller needs; null where the route asks for no API key by itself. */
export interface Operation {
  operationId: string;
  summary: string;
  scope: Scope | null;
  description?: string;
  security?: readonly object[];
  parameters?: readonly Parameter[];
  requestBody?: object;
  responses: Readonly<Record<number, object>>;
}

/** Operations by method and path, such as `get /v1/jobs/{id}`. */
export type Operations = Readonly<Record<string, Operation>>;

type Method = 'get' | 'post' | 'put' | 'patch' | 'delete';
type ParamsOf<Route extends string> = Route extends `${string}{${infer Name}}${infer Rest}`
  ? { [K in Name]: string } & ParamsOf<Rest>
  : unknown;
/** Answers the requests of one route; its parameters are those of the path. */
export type Handler<Route extends string> = (ctx: Context & { params: ParamsOf<Route> }) => unknown;

/**
 * Returns the routes of some operations.
 *
 * @param auth lets callers with a scope pass; null where no operation asks for one
 */
export function routesOf<const O extends Operations>(
  operations: O,
  auth: ((scope: Scope) => Middleware) | null,
  handlers: { [Route in keyof O & string]: Handler<Route> },
): Router {
  const router = new Router();
  for (const [route, { scope }] of Object.entries(operations)) {
    const [method, path = ''] = route.split(' ') as [Method, string];
    const handle = handlers[route] as (ctx: Context) => unknown;
    const answer = async (ctx: Context) => void (await handle(ctx));
    if (scope === null) router[method](toPattern(path), answer);
    else if (auth) router[method](toPattern(path), auth(scope), answer);
    else throw new Error(`${route} asks for a scope that nothing checks. This is a bug.`);
  }
  return router;
}

/** Returns the `paths` of an OpenAPI document. Every operation may answer with a problem, too. */
export function pathsOf(operations: Operations) {
  const paths: Record<string, Record<string, Omit<Operation, 'scope'>>> = {};
  for (const [route, { scope, ...operation }] of Object.entries(operations)) {
    const [method = '', path = ''] = route.split(' ');
    const security = operation.security ?? (scope ? [{ apiKey: [scope] }] : []);
    const responses = { ...operation.responses, default: PROBLEM };
    paths[path] = { ...paths[path], [method]: { ...operation, security, responses } };
  }
  return paths;
}

/** Returns the path of a route in the router's own spelling. */
export function toPattern(path: string): string {
  return path.replace(/\{(\w+)\}/g, ':$1');
}

/** Returns a reference to a schema of the document. */
export function ref(name: string) {
  return { $ref: `#/components/schemas/${name}` };
}

/** Returns a response, or a body, of JSON. */
export function json(description: string, schema: object) {
  return { description, content: { 'application/json': { schema } } };
}

/** Returns a request body of JSON, described by a schema of the document. */
export function jsonBody(schema: string) {
  return { required: true, content: { 'application/json': { schema: ref(schema) } } };
}

/** Returns parameters of a query, each a text. */
export function query(...names: string[]) {
  return names.map((name) => ({ name, in: 'query', schema: { type: 'string' } }));
}

/** The query of a signed address, which takes the place of an API key. */
export const SIGNED_QUERY = query('expires', 'signature');
/** The security of an operation that an API key or a signed address opens. */
export const KEY_OR_ADDRESS = [{ apiKey: [] }, {}];

/** Tells whether a request comes by a signed address. */
export function isSigned(ctx: Context): boolean {
  return ctx.query.signature !== undefined;
}

const PROBLEM = {
  description: 'A problem (RFC 9457).',
  content: { 'application/problem+json': { schema: ref('Problem') } },
};

export const NO_CONTENT = { description: 'It is gone.' };
export const ID = { name: 'id', in: 'path', required: true, schema: { type: 'string' } };
export const IDEMPOTENCY_KEY = {
  name: 'Idempotency-Key',
  in: 'header',
  description:
    'Makes one thing, however often the request comes. While that is kept, the same body is answered with it, however it ended, and another body is refused. Once it is deleted, or its retention is over, the key is as good as new. A key is kept for a day.',
  schema: { type: 'string', maxLength: 255 },
};
