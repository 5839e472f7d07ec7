/**
 * JSON Schema 2020-12, the one language that describes data from outside.
 *
 * A schema is written once (`as const satisfies JSONSchema`): its type, its compiled guard and its place in the OpenAPI
 * document come from that one text. Only schemas of this code base and those made from a registered model's signature
 * are compiled, never a caller's; each is compiled once. A check stops at the first fault and costs at most one pass over the
 * value, unless all faults of a text are asked for.
 */
import type { AnySchemaObject, ErrorObject, Options, ValidateFunction } from 'ajv/dist/2020.js';
import type { FromSchema, JSONSchema as Schema } from 'json-schema-to-ts';
import { parseTimestamp } from '../base/clock.js';
import { requirePackage } from '../base/packages.js';
import { type Fault, invalid } from './errors.js';

export type JsonSchema = Exclude<Schema, boolean>;
export type TypeOf<S extends JsonSchema> = FromSchema<S>;

/** The schema of a time as the API writes it (RFC 3339). */
export const TIME = { type: 'string', format: 'date-time' } as const satisfies JsonSchema;
export const NULLABLE_TIME = { type: ['string', 'null'], format: 'date-time' } as const satisfies JsonSchema;
export const NULLABLE_TEXT = { type: ['string', 'null'] } as const satisfies JsonSchema;
/** The schema of an object of texts by name. */
export const TEXTS = {
  type: 'object',
  additionalProperties: { type: 'string' },
} as const satisfies JsonSchema;

/** Returns the schema of an object that has all these properties and no other. */
export function exactly<const P extends Readonly<Record<string, JsonSchema>>>(properties: P) {
  const required = Object.keys(properties) as (keyof P & string)[];
  return { type: 'object', additionalProperties: false, required, properties } as const;
}

/** Returns the schema of a value that may be null. */
export function orNull<const S extends JsonSchema>(schema: S) {
  return { anyOf: [schema, { type: 'null' }] } as const;
}

/** The schemas are held to their language by their type; ajv would spend a tenth of a second on it in every process. */
const OPTIONS = {
  strict: true,
  allowUnionTypes: true,
  ownProperties: true,
  // A fault tells the value that it found. This costs nothing where there is none.
  verbose: true,
  meta: false,
  validateSchema: false,
  /** Every format that a schema may name. */
  formats: { 'date-time': (text: string) => !Number.isNaN(parseTimestamp(text)) },
};

/** A text that a person wrote is checked once, so its schema must be quick to compile, not to run. */
const THOROUGH = { ...OPTIONS, allErrors: true, inlineRefs: false, code: { optimize: false } };

/** Returns null when `value` fits, else its first fault. The path is a JSON Pointer (RFC 6901) that starts with `base`. */
export type Checker = (value: unknown, base?: string) => Fault | null;

/** Returns the checker of a schema, which is compiled at its first use. */
export function compileSchema(schema: JsonSchema): Checker {
  const compiled = onFirstUse(() => compile(schema as AnySchemaObject, OPTIONS));
  return (value, base = '') => {
    const validate = compiled();
    if (validate(value)) return null;
    const error = validate.errors?.[0];
    return error ? toFault(error, base) : { path: base, message: 'is invalid' };
  };
}

/**
 * Returns a checker that finds every fault and tells at most `MAX_FAULTS` of them. It is for small texts that a person writes
 * by hand and wants to mend at once.
 */
export function compileThorough(schema: JsonSchema): (value: unknown) => Fault[] {
  const compiled = onFirstUse(() => compile(inDefinitions(schema), THOROUGH));
  return (value) => {
    const validate = compiled();
    validate(value);
    // Another error tells what is wrong with the name.
    const errors = (validate.errors ?? []).filter(({ keyword }) => keyword !== 'propertyNames');
    return errors.slice(0, MAX_FAULTS).map((error) => toFault(error, ''));
  };
}

/**
 * Returns a guard: it returns a value that fits, with the type of the schema. For any other it throws a `SluiceError`,
 * `unknown_field` for a field that the schema does not know, else `invalid_input`.
 */
export function compileGuard<S extends JsonSchema>(schema: S): (value: unknown) => TypeOf<S> {
  const check = compileSchema(schema);
  return (value) => {
    const fault = check(value);
    if (fault) throw invalid([fault], fault.message === UNKNOWN_FIELD ? 'unknown_field' : 'invalid_input');
    return value as TypeOf<S>;
  };
}

/** Returns a guard that tells every fault, unknown fields first. It is for small bodies that a person writes by hand. */
export function compileThoroughGuard<S extends JsonSchema>(schema: S): (value: unknown) => TypeOf<S> {
  const check = compileThorough(schema);
  return (value) => {
    const faults = check(value);
    const unknown = faults.filter(({ message }) => message === UNKNOWN_FIELD);
    const others = faults.filter((fault) => !unknown.includes(fault));
    if (faults.length > 0)
      throw invalid([...unknown, ...others], unknown.length > 0 ? 'unknown_field' : 'invalid_input');
    return value as TypeOf<S>;
  };
}

const MAX_FAULTS = 100;
const UNKNOWN_FIELD = 'is not a field of this object';
export const NO_TIME = 'must be an RFC 3339 time';

/** Compiling costs milliseconds, and no process meets every kind of data there is. */
function onFirstUse(compiled: () => ValidateFunction): () => ValidateFunction {
  let validate: ValidateFunction | undefined;
  return () => (validate ??= compiled());
}

function compile(schema: AnySchemaObject, options: Options): ValidateFunction {
  // A child that computes mostly compiles none.
  const { Ajv2020 } = requirePackage('ajv/dist/2020.js') as typeof import('ajv/dist/2020.js');
  return new Ajv2020(options).compile(schema);
}

/** Returns the same schema with each object that it describes as a definition, so that one of many places is compiled once. */
function inDefinitions(schema: JsonSchema): AnySchemaObject {
  const names = new Map<unknown, string>();
  const definitions: Record<string, unknown> = {};
  const parts = (whole: object) =>
    Object.fromEntries(Object.entries(whole).map(([key, part]) => [key, placed(part)]));
  const placed = (part: unknown): unknown => {
    if (typeof part !== 'object' || part === null || Array.isArray(part)) return part;
    if (!('properties' in part) || !('type' in part) || part.type !== 'object') return parts(part);
    const name = names.get(part) ?? `object${names.size}`;
    if (!names.has(part)) {
      names.set(part, name);
      definitions[name] = parts(part);
    }
    return { $ref: `#/$defs/${name}` };
  };
  return { ...parts(schema), $defs: definitions };
}

function toFault(error: ErrorObject, base: string): Fault {
  const path = base + error.instancePath;
  switch (error.keyword) {
    case 'additionalProperties':
      return { path: `${path}/${escapePointer(error.params.additionalProperty)}`, message: UNKNOWN_FIELD };
    case 'required':
      return { path: `${path}/${escapePointer(error.params.missingProperty)}`, message: 'is required' };
    case 'enum':
      return {
        path,
        message: `must be one of ${[...new Set(error.params.allowedValues.map(String))].join(', ')}`,
      };
    default:
      return { path, message: messageOf(error) };
  }
}

function messageOf({ keyword, params, data, message }: ErrorObject): string {
  switch (keyword) {
    case 'type':
      return `must be ${[params.type].flat().join(' or ')}; got ${kindOf(data)}`;
    case 'minItems':
      return `must have at least ${items(params.limit)}; has ${(data as unknown[]).length}`;
    case 'maxItems':
      return `must have at most ${items(params.limit)}; has ${(data as unknown[]).length}`;
    case 'format':
      return NO_TIME;
    case 'maxProperties':
      return params.limit === 0 ? 'must be empty' : `must have at most ${params.limit} fields`;
    default:
      return message ?? 'is invalid';
  }
}

function items(count: number): string {
  return `${count} item${count === 1 ? '' : 's'}`;
}

/** Returns the kind of a value, with its article, for the sentence that tells its sender what is wrong. */
export function kindOf(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  // JSON can write such a number as 1e400.
  if (typeof value === 'number' && !Number.isFinite(value)) return 'a number that is too large';
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}

/** Escapes one reference token (RFC 6901, section 3). */
export function escapePointer(token: string): string {
  return token.replaceAll('~', '~0').replaceAll('/', '~1');
}
