/** The reference of model.yaml: complete, true, and as it is generated. */
import { readFileSync } from 'node:fs';
import { Ajv } from 'ajv';
import { expect, it } from 'vitest';
import { parse } from 'yaml';
import { MANIFEST_FIELDS } from '../../deploy/models/manifest-fields.js';
import { editorSchema, manifestSchemas, referencePage } from '../../deploy/models/manifest-reference.js';
import { compileThorough, type JsonSchema } from '../../shared/contract/schema.js';

/** The formatter aligns tables. */
const plain = (text: string) => text.replace(/ +/g, ' ').replace(/-{3,}/g, '---');

it('has words for each field of the schema, and for none besides', () => {
  expect(Object.keys(MANIFEST_FIELDS).sort()).toEqual([...manifestSchemas().keys()].sort());
});

it.each([...manifestSchemas()])('shows an example of %s that is valid', (path, schema) => {
  expect(compileThorough(schema as JsonSchema)(MANIFEST_FIELDS[path]?.example)).toEqual([]);
});

it('is as `npm run generate:reference` writes it', () => {
  expect(plain(readFileSync('api/reference/model-yaml.md', 'utf8'))).toBe(plain(referencePage()));
  expect(JSON.parse(readFileSync('api/reference/model.schema.json', 'utf8'))).toEqual(editorSchema());
});

it('lets editors pass what is valid, be it one line, and find what is not', () => {
  const check = new Ajv({ strict: false }).compile(editorSchema());
  const mnist = parse(readFileSync('deploy/models/mnist/1/model.yaml', 'utf8'));
  for (const file of [mnist, { version: 3 }, { batching: { maxBatchSize: 8 } }])
    expect(check(file)).toBe(true);
  for (const file of [{ colour: 'red' }, { signature: { inputs: [{ dtype: 'float' }] } }, { version: 0 }])
    expect(check(file)).toBe(false);
});
