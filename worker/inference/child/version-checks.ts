/**
 * Version checks: what a version must do before it serves. It computes its golden vectors, and batches of every size.
 */
import { messageOf } from '../../../shared/base/errors.js';
import { type Manifest, signatureNames, withSignature } from '../../../shared/contract/models/manifest.js';
import type { Instance } from '../../../shared/contract/tensors/tensor.js';
import type { LoadedModel } from '../../backends/backend.js';
import { findDependence } from './batch-dependence.js';
import { findExample, type RunRows } from './examples.js';
import { compareGolden, type GoldenVectors } from './golden.js';
import { decodeInstance, stackInstances } from './instances.js';
import { examplesBySize, padInstance, trimBatch } from './padding.js';

/** A version once it has run, and everything that showed. */
export interface TriedVersion {
  /** The instance by which it is measured; null when no instance is known that it computes. */
  example: Instance | null;
  isolatedSignatures: readonly string[];
  warnings: string[];
}

/**
 * Runs each signature of a version as callers will, and resolves with what was found; rejects when it cannot serve. Where
 * another child has `found` its isolated signatures, only the example is looked for.
 */
export async function tryVersion(
  manifest: Manifest,
  model: LoadedModel,
  golden: GoldenVectors | null,
  found: readonly string[] | null,
): Promise<TriedVersion> {
  const warnings: string[] = [];
  const { crossJob } = manifest.batching;
  const isolated = new Set(found ?? (crossJob === 'deny' ? signatureNames(manifest) : []));
  let example: Instance | null = null;
  for (const [index, name] of signatureNames(manifest).entries()) {
    const own = withSignature(manifest, name) as Manifest;
    const run: RunRows = (rows) =>
      model.run(stackInstances(own, rows), index === 0 ? {} : { signatureName: name });
    try {
      const known = await findExample(own, run, index === 0 ? golden : null);
      if (known.warning !== null) warnings.push(known.warning);
      if (index === 0) example = known.instance;
      if (found) break;
      if (!known.instance) {
        // Nothing shows that strangers in a batch change nothing.
        if (!manifest.stateful && crossJob !== 'allow') isolated.add(name);
        continue;
      }
      await warmUp(own, run, known.instance);
      // Chance tells the same rows apart, whoever shares the batch.
      if (manifest.stateful) continue;
      const dependence = await findDependence(own, run, known.instance, model.precisionOf);
      if (dependence === null) continue;
      warnings.push(index === 0 ? dependence : `Signature ${name}: ${dependence}`);
      if (crossJob !== 'allow') isolated.add(name);
    } catch (error) {
      throw index === 0 ? error : new Error(`signature ${name}: ${messageOf(error)}`);
    }
  }
  return { example, isolatedSignatures: [...isolated], warnings };
}

/**
 * Resolves with the largest difference between what the model computes and the golden vectors; rejects when it is above the
 * tolerance. Instances run one at a time, because their shapes may differ. What chance computes is held to its form alone, for
 * which the difference is null.
 */
export async function checkGolden(
  manifest: Manifest,
  model: LoadedModel,
  golden: GoldenVectors,
): Promise<number | null> {
  let largest = 0;
  const tolerance = manifest.stateful ? Number.POSITIVE_INFINITY : manifest.quantization?.tolerance;
  for (const [index, instance] of golden.instances.entries()) {
    const decoded = await decodeInstance(manifest, instance);
    if (!decoded.ok) throw new Error(`golden instance ${index}: ${decoded.message}`);
    const computed = await model.run(stackInstances(manifest, [decoded.padded]));
    const trimmed = Object.fromEntries(
      Object.entries(computed).map(([name, batch]) => [
        name,
        trimBatch(manifest, name, batch, decoded.instance),
      ]),
    );
    try {
      const expected = golden.outputs[index] ?? {};
      largest = Math.max(largest, compareGolden(expected, trimmed, tolerance));
    } catch (error) {
      throw new Error(`golden instance ${index}: ${messageOf(error)}`);
    }
  }
  return manifest.stateful ? null : largest;
}

/**
 * Runs batches of every preferred size, else of 1 and of maxBatchSize, at every padded size. So the first caller waits for no
 * lazy set-up, and a model that cannot take a full batch is found now.
 */
async function warmUp(manifest: Manifest, run: RunRows, example: Instance): Promise<void> {
  const { signature, batching } = manifest;
  const { maxBatchSize, preferredSizes = [1, maxBatchSize] } = batching;
  const sizes = signature.batchSize === undefined ? preferredSizes : [signature.batchSize];
  for (const each of examplesBySize(signature, example) ?? [example])
    for (const size of new Set(sizes)) {
      const padded = padInstance(signature, each);
      await run(new Array<Instance>(size).fill(padded)).catch((error: unknown) => {
        throw new Error(`a batch of ${size} failed: ${messageOf(error)}${hintOf(manifest)}`);
      });
    }
}

/** Nobody can tell by its size whether a first dimension that varies is that of a batch, nor which values a model takes. */
function hintOf({ signature, batching, golden }: Manifest): string {
  const hints = [
    golden ? '' : '. Zeros were tried; golden vectors may show values that it computes',
    batching.dimension === 'none' || signature.batchSize !== undefined
      ? ''
      : '. If the first dimension of its tensors is no batch, model.yaml may say `batching: {dimension: none}`',
  ];
  return hints.join('');
}
