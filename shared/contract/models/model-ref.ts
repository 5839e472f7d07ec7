/**
 * The names of models and aliases, and how a caller refers to a version: `mnist`, `mnist@3`, `mnist@stable`.
 */

/** The pattern of a model's name, for JSON Schema. */
export const MODEL_NAME = '^[a-z0-9][a-z0-9_-]{0,62}$';

const NAME_RULE = new RegExp(MODEL_NAME);
const ALIAS_RULE = /^[a-z][a-z0-9_-]{0,62}$/;
const REFERENCE = /^([a-z0-9][a-z0-9_-]{0,62})(?:@(?:([1-9][0-9]{0,8})|([a-z][a-z0-9_-]{0,62})))?$/;

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
  return version ? { name, version: Number(version) } : { name, alias };
}

/** Returns "mnist@3": the text by which one version of a model is known, in maps and to people. */
export function versionKey(model: string, version: number): string {
  return `${model}@${version}`;
}
