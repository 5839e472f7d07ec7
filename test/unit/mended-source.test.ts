/** The source of the binding that is installed here is the one whose fault is known. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { expect, it } from 'vitest';
import { mendedSource } from '../../deploy/native/mended-source.js';

const path = createRequire(import.meta.url).resolve('@tensorflow/tfjs-node-gpu/binding/tfjs_backend.cc');
const source = readFileSync(path, 'utf8');

it('mends the source that is installed, and frees strings in one place alone', () => {
  const mended = mendedSource(source);
  expect(mended.match(/TF_TString_Dealloc/g)).toHaveLength(1);
  expect(mended).toMatch(/strings, length, FreeStrings, nullptr\)/);
  expect(mended).not.toContain('TF_AllocateTensor(TF_DataType::TF_STRING');
});

it.each([
  ['that is mended already', mendedSource(source)],
  ['of another version', source.replace('// Deallocate each string', '')],
])('refuses a source %s', (_, other) => {
  expect(() => mendedSource(other)).toThrow('The source of the binding is not that of tfjs-node-gpu 4.22.0.');
});
