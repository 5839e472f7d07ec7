/**
 * The model of the simulated device: four numbers in, the same four out, so a caller knows its own answer. No weights.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { toBytes } from '../../../shared/contract/tensors/elements.js';
import { packInstances } from '../../../shared/contract/tensors/tensor.js';
import { VERSION } from '../feed.js';

export const MODEL = 'simulated';
export const BATCH = 32;
const NAME = 'numbers';
const SHAPE = [4];

/** Writes the model into a folder of models. */
export function writeSimulatedModel(modelsDir: string): void {
  const folder = join(modelsDir, MODEL, String(VERSION));
  const topology = '{}';
  const tensors = [{ name: NAME, dtype: 'float32', shape: SHAPE }];
  const manifest = {
    name: MODEL,
    version: VERSION,
    format: 'layers',
    signature: { inputs: tensors, outputs: tensors },
    batching: { maxBatchSize: BATCH, maxDelayMs: 5 },
    files: { 'model.json': createHash('sha256').update(topology).digest('hex') },
  };
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'model.json'), topology);
  writeFileSync(join(folder, 'model.yaml'), stringify(manifest));
}

/** Returns the input of the job of this number, packed, and so its output. No two jobs of a run have equal ones. */
export function inputOf(job: number): Buffer {
  const data = toBytes(Float32Array.of(job % 4096, Math.floor(job / 4096), 0.5, -0.5));
  return packInstances([{ [NAME]: { dtype: 'float32', shape: SHAPE, data } }]);
}
