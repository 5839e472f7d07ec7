/**
 * Outcomes: what became of each item of a request that has many, in their order.
 */
import type { JsonSchema } from '../../shared/contract/schema.js';
import { ref } from './operations.js';
import { itemErrorSchema } from './problem.js';

/** Returns the schema of a list of outcomes, each a job or an error, with its status; `more` are further fields, always there. */
export function outcomesSchema(description: string, more: Record<string, JsonSchema> = {}) {
  return {
    type: 'array',
    items: {
      type: 'object',
      additionalProperties: false,
      required: [...Object.keys(more), 'status'],
      description,
      properties: { ...more, status: { type: 'integer' }, job: ref('Job'), error: itemErrorSchema },
    },
  };
}
