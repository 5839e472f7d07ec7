/**
 * The reference of model.yaml, made from its schema: a page for people, and a JSON Schema for editors.
 */
import { manifestSchema } from '../../shared/contract/models/manifest.js';
import type { JsonSchema } from '../../shared/contract/schema.js';
import { type FieldText, MANIFEST_FIELDS } from './manifest-fields.js';

type Schema = Record<string, unknown>;

const SCHEMA_URL = 'api/reference/model.schema.json';
const HEAD = `# Fields of model.yaml

\`npm run generate:reference\` writes this page from the schema; do not edit it.

A \`model.yaml\` may hold any part of these fields; one line is valid. [Describe a model](../../deploy/guides/describe-a-model.md) tells what they
are for. \`[]\` stands for each element of a list, \`*\` for a name that you choose. Outputs have the fields of inputs.

An editor with a language server for YAML completes and checks the file by this first line, with the path from the file to the repository:

\`\`\`yaml
# yaml-language-server: $schema=../../../../${SCHEMA_URL}
\`\`\`

| field | values | meaning | left out | example |
| ----- | ------ | ------- | -------- | ------- |
`;

/** Returns the fields of model.yaml by their paths, each with its schema. */
export function manifestSchemas(): Map<string, Schema> {
  const found = new Map<string, Schema>();
  const seen = new Set<unknown>();
  function visit(schema: Schema, path: string): void {
    seen.add(schema);
    if (path !== '') found.set(path, schema);
    // Inputs and outputs share the schema of their elements, which is shown once.
    const parts: [string, unknown][] = Object.entries((schema.properties ?? {}) as Schema);
    for (const [name, part] of parts) visit(part as Schema, path === '' ? name : `${path}.${name}`);
    if (isObject(schema.additionalProperties) && !seen.has(schema.additionalProperties))
      visit(schema.additionalProperties, `${path}.*`);
    if (!isObject(schema.items) || !isObject(schema.items.properties) || seen.has(schema.items)) return;
    seen.add(schema.items);
    for (const [name, part] of Object.entries(schema.items.properties))
      visit(part as Schema, `${path}[].${name}`);
  }
  visit(manifestSchema as JsonSchema as Schema, '');
  return found;
}

/** Returns the page, in Markdown. */
export function referencePage(): string {
  const rows = [...manifestSchemas()].map(([path, schema]) => {
    const { meaning, otherwise, example } = textOf(path);
    const shown = JSON.stringify(example).replaceAll('|', '\\|');
    return `| \`${path}\` | ${valuesOf(schema)} | ${meaning} | ${otherwise} | \`${shown}\` |`;
  });
  return `${HEAD}${rows.join('\n')}\n`;
}

/** Returns the schema for editors. Nothing in it is required, because the files of a version tell what is left out. */
export function editorSchema(): Schema {
  const schemas = new Map([...manifestSchemas()].map(([path, schema]) => [schema, path]));
  const told = (schema: Schema): Schema => {
    const path = schemas.get(schema);
    const text = path === undefined ? undefined : textOf(path);
    const { required: _, $id: __, ...rest } = schema;
    const parts = Object.entries(rest).map(([key, value]) => {
      if (key === 'properties')
        return [
          key,
          Object.fromEntries(
            Object.entries(value as Schema).map(([name, part]) => [name, told(part as Schema)]),
          ),
        ];
      return [
        key,
        (key === 'items' || key === 'additionalProperties') && isObject(value) ? told(value) : value,
      ];
    });
    const words = text && {
      description: `${text.meaning} Left out: ${text.otherwise}.`,
      examples: [text.example],
    };
    return { ...words, ...Object.fromEntries(parts) };
  };
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: 'model.yaml of Sluice',
    ...told(manifestSchema as JsonSchema as Schema),
  };
}

function textOf(path: string): FieldText {
  const text = MANIFEST_FIELDS[path];
  if (!text) throw new Error(`deploy/models/manifest-fields.ts has no words for ${path}`);
  return text;
}

function valuesOf(schema: Schema): string {
  const { enum: values, type, items, minimum, maximum, exclusiveMinimum } = schema;
  if (Array.isArray(values)) return [...new Set(values.map((value) => `\`${value}\``))].join(', ');
  if (type === 'array') return `list of ${isObject(items) ? valuesOf(items) : 'anything'}`;
  if (Array.isArray(type)) return type.join(' or ');
  const least = minimum === undefined ? '' : `, from ${minimum}`;
  const above = exclusiveMinimum === undefined ? '' : `, above ${exclusiveMinimum}`;
  return `${type === 'string' ? 'text' : type}${least}${above}${maximum === undefined ? '' : ` to ${maximum}`}`;
}

function isObject(value: unknown): value is Schema {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
