/**
 * What the parts of the OpenAPI document are made with.
 */
import type { JsonSchema } from '../../shared/contract/schema.js';

export const TIME: JsonSchema = { type: 'string', format: 'date-time' };
export const NULLABLE_TIME: JsonSchema = { type: ['string', 'null'], format: 'date-time' };

const PROBLEM = {
  description: 'A problem (RFC 9457).',
  content: { 'application/problem+json': { schema: ref('Problem') } },
};

export const ID = { name: 'id', in: 'path', required: true, schema: { type: 'string' } };
export const IDEMPOTENCY_KEY = {
  name: 'Idempotency-Key',
  in: 'header',
  schema: { type: 'string', maxLength: 255 },
};

/** Parameters of a query, each a text. */
export function query(...names: string[]) {
  return names.map((name) => ({ name, in: 'query', schema: { type: 'string' } }));
}

/** Of a list. */
export const PAGE_QUERY = query('limit', 'cursor');
/** Of one that is answered whole, and takes what every list takes. */
export const WHOLE_QUERY = PAGE_QUERY.map((parameter) => ({
  ...parameter,
  description: 'Not needed: all are answered.',
}));

export function operation<T extends { responses: object }>(operationId: string, summary: string, rest: T) {
  return { operationId, summary, ...rest, responses: { ...rest.responses, default: PROBLEM } };
}

export function json(description: string, schema: object) {
  return { description, content: { 'application/json': { schema } } };
}

export function page(item: object) {
  return {
    type: 'object',
    required: ['data', 'nextCursor'],
    properties: { data: { type: 'array', items: item }, nextCursor: { type: ['string', 'null'] } },
  };
}

export function ref(name: string) {
  return { $ref: `#/components/schemas/${name}` };
}
