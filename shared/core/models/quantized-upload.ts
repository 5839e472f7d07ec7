/**
 * Quantises the weights of an uploaded version before it is stored, where the caller asks for it.
 */
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { hashFile } from '../../base/disk.js';
import { messageOf } from '../../base/errors.js';
import { invalid } from '../../contract/errors.js';
import type { Manifest, Quantization } from '../../contract/models/manifest.js';
import { QUANTIZED_WEIGHTS, quantizeWeights } from '../../model-packages/quantize.js';
import { MODEL_FILE } from '../../model-packages/tfjs-ports.js';
import type { UploadedFiles } from './uploaded-manifest.js';

export type QuantizeRequest = Pick<Quantization, 'dtype' | 'tolerance'>;

export interface QuantizedUpload {
  files: UploadedFiles;
  /** The fields of the manifest that are other ones now. */
  changes: Partial<Manifest>;
}

/**
 * Replaces the weights in `folder` by quantised ones and returns what has changed.
 * @throws {SluiceError} `invalid_input` for a SavedModel or an ONNX file, a version without golden vectors, or weights that cannot be quantised.
 */
export async function quantizeUpload(
  folder: string,
  { format, golden, files, stateful }: Manifest,
  uploaded: UploadedFiles,
  { dtype, tolerance }: QuantizeRequest,
): Promise<QuantizedUpload> {
  if (format === 'saved_model' || format === 'onnx') throw refused('is for tfjs models');
  if (stateful) throw refused('needs predictions that chance does not change, to tell what is lost');
  if (golden === undefined) throw refused('needs golden vectors: nothing else tells what is lost');
  const path = join(folder, MODEL_FILE);
  const { model, replaced } = await quantizeWeights(folder, await readFile(path, 'utf8'), dtype).catch(
    (error: unknown) => {
      throw refused(messageOf(error));
    },
  );
  await writeFile(path, model);
  const left = new Map([...uploaded].filter(([name]) => !replaced.includes(name)));
  const made: Record<string, string> = {};
  for (const name of [MODEL_FILE, QUANTIZED_WEIGHTS]) {
    const sha256 = await hashFile(join(folder, name));
    left.set(name, { sizeBytes: (await stat(join(folder, name))).size, sha256 });
    made[name] = sha256;
  }
  const kept = Object.entries(files).filter(([name]) => left.has(name) && name !== MODEL_FILE);
  const originalBytes = Object.keys(files).reduce(
    (sum, name) => sum + (uploaded.get(name)?.sizeBytes ?? 0),
    0,
  );
  return {
    files: left,
    changes: {
      files: { ...made, ...Object.fromEntries(kept) },
      quantization: { dtype, tolerance, originalBytes },
    },
  };
}

function refused(message: string): Error {
  return invalid([{ path: '?quantize', message }]);
}
