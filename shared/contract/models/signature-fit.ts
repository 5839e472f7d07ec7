/**
 * Whether a version can stand in for another: a canary or a shadow gets jobs that callers wrote for the version beside it.
 */
import {
  type Manifest,
  type Signature,
  sentInputs,
  signatureNames,
  type TensorSpec,
  withSignature,
} from './manifest.js';

/** Returns why jobs for `stable` cannot be given to `other`; null when they can. */
export function fitFault(stable: Manifest, other: Manifest): string | null {
  if (other.stateful && !stable.stateful)
    return 'draws random numbers, and jobs may ask for kept predictions';
  for (const [index, name] of signatureNames(stable).entries()) {
    const own = withSignature(stable, name)?.signature;
    // The signature of jobs that name none may have another name in another export.
    const beside = withSignature(other, index === 0 ? undefined : name)?.signature;
    if (!own || !beside) return `has no signature ${name}`;
    const fault = inputsFault(own, beside) ?? outputsFault(own, beside);
    if (fault) return fault;
  }
  return null;
}

function inputsFault(own: Signature, other: Signature): string | null {
  const [mine, theirs] = [sentInputs(own), sentInputs(other)];
  for (const spec of theirs)
    if (!mine.some(({ name }) => name === spec.name)) return `needs the input ${spec.name}, which no job has`;
  for (const spec of mine) {
    const beside = theirs.find(({ name }) => name === spec.name);
    if (!beside) return `has no input ${spec.name}`;
    const isAlike = beside.dtype === spec.dtype && beside.batch === spec.batch;
    if (!isAlike || !takes(beside, spec)) return `takes ${textOf(beside)}, where jobs have ${textOf(spec)}`;
  }
  return null;
}

function outputsFault(own: Signature, other: Signature): string | null {
  for (const spec of own.outputs) {
    const beside = other.outputs.find(({ name }) => name === spec.name);
    if (!beside) return `has no output ${spec.name}`;
    const isAlike = beside.shape.length === spec.shape.length && beside.dtype === spec.dtype;
    if (!isAlike || (beside.postprocess === undefined) !== (spec.postprocess === undefined))
      return `gives ${textOf(beside)}, where callers expect ${textOf(spec)}`;
  }
  if (own.outputs.length !== other.outputs.length) return 'has more outputs';
  return null;
}

/** Tells whether a tensor takes every value that the other one takes. */
function takes(other: TensorSpec, spec: TensorSpec): boolean {
  const most = ({ padding, maxShape }: TensorSpec, axis: number) =>
    padding?.sizes.at(-1) ?? maxShape?.[axis] ?? Number.POSITIVE_INFINITY;
  const isWide = spec.shape.every(
    (size, axis) =>
      other.shape[axis] === size ||
      (other.shape[axis] === null && (size ?? most(spec, axis)) <= most(other, axis)),
  );
  const isAccepted = (spec.accepts ?? []).every((shape) =>
    (other.accepts ?? []).some((each) => each.join() === shape.join()),
  );
  // The pictures of a shadow come in the shape that the version beside it told, resized or not.
  const isSized = other.preprocess?.resize === undefined || spec.preprocess?.resize !== undefined;
  return other.shape.length === spec.shape.length && isWide && isAccepted && isSized;
}

function textOf({ name, dtype, shape }: TensorSpec): string {
  return `${name} ${dtype} [${shape.map((size) => size ?? '?').join(', ')}]`;
}
