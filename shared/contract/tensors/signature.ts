/**
 * JSON Schemas made from a version's signature: for an instance, a prediction and a nested tensor.
 */

import {
  type Manifest,
  nonFiniteOf,
  type Signature,
  sentInputs,
  type TensorSpec,
} from '../models/manifest.js';
import type { JsonSchema } from '../schema.js';
import { type Dtype, isFloat, isWide, rangeOf } from './dtypes.js';

const FILE = { type: 'string', pattern: '^file_[0-9a-z]{36}$' } as const;
const BASE64 = { type: 'string', contentEncoding: 'base64', pattern: '^[A-Za-z0-9+/]*={0,2}$' } as const;

const DRAFT = 'https://json-schema.org/draft/2020-12/schema';
/** JSON shows these in the place of NaN and Infinity. */
const NON_FINITE = { fail: [], null: [null], string: ['NaN', 'Infinity', '-Infinity'] } as const;
const EXACT = { type: 'object', additionalProperties: false } as const;

/** One nesting of arrays in which a tensor may be sent, outermost dimension first. A size of null allows up to its maximum. */
export interface Nesting {
  sizes: readonly (number | null)[];
  maxima: readonly (number | undefined)[];
}

/** Returns the nestings in which a caller may send the values: the spec's own shape, then the shapes that it `accepts`. */
export function nestingsOf(spec: TensorSpec): Nesting[] {
  const own: Nesting = {
    sizes: spec.shape,
    maxima: spec.shape.map((size, axis) => size ?? spec.padding?.sizes.at(-1) ?? spec.maxShape?.[axis]),
  };
  return [own, ...(spec.accepts ?? []).map((shape) => ({ sizes: shape, maxima: shape }))];
}

/** Returns the JSON Schema of one element as a caller may send it. */
export function elementSchema(dtype: Dtype): JsonSchema {
  if (dtype === 'string') return { anyOf: [{ type: 'string' }, bytesSchema, fileSchema] };
  if (dtype === 'bool') return { enum: [true, false, 0, 1] };
  if (isWide(dtype)) return wideSchema(dtype);
  const [minimum, maximum] = rangeOf(dtype) as readonly [number, number];
  return { type: isFloat(dtype) ? 'number' : 'integer', minimum, maximum };
}

/** The schema of an integer of 64 bits: a number as far as JSON holds it exactly, else a string of its digits. */
function wideSchema(dtype: 'int64' | 'uint64'): JsonSchema {
  const isSigned = dtype === 'int64';
  return {
    type: ['integer', 'string'],
    minimum: isSigned ? Number.MIN_SAFE_INTEGER : 0,
    maximum: Number.MAX_SAFE_INTEGER,
    pattern: `^(0|${isSigned ? '-?' : ''}[1-9][0-9]{0,19})$`,
  };
}

/** Returns the JSON Schema of one nesting of elements. It does not catch ragged rows of a dimension without a size. */
export function nestedSchema(element: JsonSchema, nesting: Nesting): JsonSchema {
  return nesting.sizes.reduceRight<JsonSchema>((items, size, axis) => {
    const maxItems = nesting.maxima[axis];
    return { type: 'array', minItems: size ?? 1, ...(maxItems === undefined ? {} : { maxItems }), items };
  }, element);
}

/** Returns the schemas that `GET /v1/models/{name}/versions/{version}/schema` publishes (JSON Schema 2020-12). */
export function publishedSchemas(manifest: Manifest): { instance: JsonSchema; prediction: JsonSchema } {
  const { signature } = manifest;
  return {
    instance: byName(sentInputs(signature), inputSchema, true),
    prediction: byName(signature.outputs, (spec) => outputSchema(spec, nonFiniteOf(manifest, spec))),
  };
}

/** @param mayName whether a single value may also come in an object by its name */
function byName(
  specs: Signature['inputs'],
  schemaOf: (spec: TensorSpec) => JsonSchema,
  mayName = false,
): JsonSchema {
  const [only] = specs.length === 1 ? specs : [];
  if (only && !mayName) return { $schema: DRAFT, ...schemaOf(only) };
  const value = { $ref: '#/$defs/value' };
  if (only)
    return {
      $schema: DRAFT,
      $defs: { value: schemaOf(only) },
      anyOf: [value, { ...EXACT, required: [only.name], properties: { [only.name]: value } }],
    } as JsonSchema;
  return {
    $schema: DRAFT,
    ...EXACT,
    required: specs.map((spec) => spec.name),
    properties: Object.fromEntries(specs.map((spec) => [spec.name, schemaOf(spec)])),
  };
}

function inputSchema(spec: TensorSpec): JsonSchema {
  const description = spec.description === undefined ? {} : { description: spec.description };
  if (spec.dtype === 'image' || spec.dtype === 'audio')
    return { ...description, anyOf: [...encodedSchemas(spec.dtype), fileSchema] };
  const dtype = spec.dtype;
  const nested = nestingsOf(spec).map((nesting) => nestedSchema(elementSchema(dtype), nesting));
  if (dtype === 'string') return { ...description, anyOf: nested };
  const raw = [rawSchema(spec, dtype, 'b64', BASE64), rawSchema(spec, dtype, 'file', FILE)];
  return { ...description, anyOf: [...nested, ...raw] };
}

/** The schema of raw bytes, in the body or in a file. The shape is stated only where the signature leaves it open. */
function rawSchema(
  spec: TensorSpec,
  dtype: Dtype,
  source: string,
  schema: typeof BASE64 | typeof FILE,
): JsonSchema {
  const dynamic = spec.shape.includes(null);
  return {
    type: 'object',
    additionalProperties: false,
    required: dynamic ? [source, 'shape'] : [source],
    properties: {
      [source]: {
        ...schema,
        description: `Raw little-endian ${dtype} values${source === 'b64' ? '; other forms of base64 are taken, too' : ''}.`,
      },
      ...(dynamic ? { shape: { type: 'array', items: { type: 'integer', minimum: 1 } } } : {}),
    },
  };
}

function outputSchema(spec: TensorSpec, nonFinite: keyof typeof NON_FINITE): JsonSchema {
  if (spec.dtype === 'image' || spec.dtype === 'audio') return encodedSchemas(spec.dtype)[0];
  if (spec.postprocess) return rankingSchema(spec.labels ?? [], spec.postprocess.topK);
  const nesting = nestingsOf(spec)[0] as Nesting;
  return nestedSchema(shownSchema(spec.dtype, nonFinite), nesting);
}

/** The schema of one element as a caller gets it. */
function shownSchema(dtype: Dtype, nonFinite: keyof typeof NON_FINITE): JsonSchema {
  if (dtype === 'bool') return { type: 'boolean' };
  if (dtype === 'string') return { anyOf: [{ type: 'string' }, bytesSchema] };
  const more = isFloat(dtype) ? NON_FINITE[nonFinite] : [];
  return more.length > 0 ? { anyOf: [elementSchema(dtype), { enum: more }] } : elementSchema(dtype);
}

/** The schema of the `count` best labels, best first. */
function rankingSchema(labels: readonly string[], count: number): JsonSchema {
  return {
    type: 'array',
    minItems: count,
    maxItems: count,
    items: {
      type: 'object',
      additionalProperties: false,
      required: ['label', 'score'],
      properties: { label: { enum: [...labels] }, score: { type: 'number' } },
    },
  };
}

/** The schema of bytes in base64. */
const bytesSchema: JsonSchema = {
  type: 'object',
  additionalProperties: false,
  required: ['b64'],
  properties: { b64: BASE64 },
};

/** The schema of a file uploaded before, by its id. */
const fileSchema: JsonSchema = {
  type: 'object',
  additionalProperties: false,
  required: ['file'],
  properties: { file: FILE },
};

/** The schemas of a picture or a sound: in base64, and as a file uploaded before. */
function encodedSchemas(kind: 'image' | 'audio'): [JsonSchema, JsonSchema] {
  const schemaOf = (file: JsonSchema): JsonSchema => ({
    type: 'object',
    additionalProperties: false,
    required: [kind],
    properties: { [kind]: file },
  });
  return [schemaOf(bytesSchema), schemaOf(fileSchema)];
}
