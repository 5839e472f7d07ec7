/**
 * An alias: it names a version, and may name a canary that gets a share of its jobs and a shadow that gets copies of them.
 */
import type { JsonSchema, TypeOf } from '../schema.js';
import { canarySchema } from './canary.js';
import { VERSION_NUMBER } from './model-ref.js';

export const putAliasSchema = {
  type: 'object',
  additionalProperties: false,
  required: ['version'],
  properties: {
    version: { ...VERSION_NUMBER, description: 'What the alias means from now on.' },
    canary: canarySchema,
    shadow: {
      type: 'object',
      additionalProperties: false,
      required: ['version', 'percent'],
      properties: {
        version: VERSION_NUMBER,
        percent: {
          type: 'number',
          exclusiveMinimum: 0,
          maximum: 100,
          description: "Share of the alias' jobs of which the version is given copies.",
        },
      },
    },
  },
} as const satisfies JsonSchema;

export type AliasRequest = TypeOf<typeof putAliasSchema>;
export type Shadow = NonNullable<AliasRequest['shadow']>;
