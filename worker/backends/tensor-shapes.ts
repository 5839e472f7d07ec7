/**
 * The shapes that a version's tensors must have in a batch, on whichever backend.
 */
import { hasRows, type Manifest, type TensorSpec } from '../../shared/contract/models/manifest.js';
import type { BatchTensors, RunOptions } from './backend.js';

/** Returns the number of rows of a batch: those of any input that has rows, else one. */
export function rowsOf(manifest: Manifest, batch: BatchTensors): number {
  const spec = manifest.signature.inputs.find((each) => hasRows(manifest, each));
  return spec ? (batch[spec.name]?.shape[0] ?? 0) : 1;
}

/** Refuses a tensor of another shape. TensorFlow would end the process over some of them. */
export function demandInput(manifest: Manifest, spec: TensorSpec, shape: readonly number[]): void {
  const { batchSize = null } = manifest.signature;
  const wanted = hasRows(manifest, spec) ? [batchSize, ...spec.shape] : spec.shape;
  if (!fits(wanted, shape))
    throw new Error(`input ${spec.name} is ${textOf(shape)}, the model takes ${textOf(wanted)}`);
}

/** Refuses an output that is not what the signature says, because it may be another output. */
export function demandOutput(
  manifest: Manifest,
  spec: TensorSpec,
  shape: readonly number[],
  rows: number,
): void {
  if (hasRows(manifest, spec) && shape[0] !== rows)
    throw new Error(
      `output ${spec.name} is ${textOf(shape)} for a batch of ${rows}; \`batch: shared\` in model.yaml is for an output without rows`,
    );
  const sizes = hasRows(manifest, spec) ? shape.slice(1) : shape;
  if (!fits(spec.shape, sizes))
    throw new Error(`output ${spec.name} is ${textOf(sizes)}, the signature says ${textOf(spec.shape)}`);
}

/** Returns the outputs that a run computes, in the order of the signature. */
export function wantedOutputs({ signature }: Manifest, { outputs }: RunOptions): TensorSpec[] {
  return outputs ? signature.outputs.filter(({ name }) => outputs.includes(name)) : signature.outputs;
}

function fits(wanted: readonly (number | null)[], shape: readonly number[]): boolean {
  return (
    shape.length === wanted.length && wanted.every((size, axis) => size === null || size === shape[axis])
  );
}

function textOf(shape: readonly (number | null)[]): string {
  return `[${shape.map((size) => size ?? '?').join(', ')}]`;
}
