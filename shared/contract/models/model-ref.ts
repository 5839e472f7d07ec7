/**
 * The names of models and aliases, and how a caller refers to a version: `mnist`, `mnist@3`, `mnist@stable`.
 */

import type { JsonSchema } from '../schema.js';

/** The pattern of a model's name, for JSON Schema. */
export const MODEL_NAME = '^[a-z0-9][a-z0-9_-]{0,62}$';

/** A version's number. Exporters make it of the time, so it is any whole number that JavaScript and Lua hold exactly. */
export const VERSION_NUMBER = {
  type: 'integer',
  minimum: 1,
  maximum: Number.MAX_SAFE_INTEGER,
} as const satisfies JsonSchema;

const NAME_RULE = new RegExp(MODEL_NAME);
const ALIAS_RULE = /^[a-z][a-z0-9_-]{0,62}$/;
const REFERENCE = /^([a-z0-9][a-z0-9_-]{0,62})(?:@(?:([1-9][0-9]{0,15})|([a-z][a-z0-9_-]{0,62})))?$/;

/** A model by its name, and its version by number or by alias. */
export interface ModelRef {
  name: string;
  version?: number;
  alias?: string;
}

/** Tells whether `text` can be the name of a model. */
export function isModelName(text: string): boolean {
  return NAME_RULE.test(text);
}

/** Tells whether `text` can be the name of an alias. */
export function isAlias(text: string): boolean {
  return ALIAS_RULE.test(text);
}

/** Returns the parts of a reference; a bare name means the alias `latest`. Null when the text is no reference. */
export function parseModelRef(text: string): ModelRef | null {
  const [, name, version, alias = 'latest'] = REFERENCE.exec(text) ?? [];
  if (!name) return null;
  if (!version) return { name, alias };
  return Number.isSafeInteger(Number(version)) ? { name, version: Number(version) } : null;
}

/** Returns "mnist@3": the text by which one version of a model is known, in maps and to people. */
export function versionKey(model: string, version: number): string {
  return `${model}@${version}`;
}
