/**
 * Pipeline depth: how many batches of a version are with each child at the same time, so that it never waits for the next.
 *
 * A backend computes synchronously: its process hears nothing meanwhile. Tensors need one batch that computes and one that
 * has been sent. Pictures are decoded and encoded in other threads while others compute, but begun and finished between
 * two batches: the last is encoded, one computes, the next is decoded, and one has been sent.
 */
import type { Signature } from '../../../shared/contract/models/manifest.js';

const TENSOR_DEPTH = 2;
const PICTURE_DEPTH = 4;

/** Returns the depth for versions of this signature, in batches. */
export function pipelineDepthOf({ inputs, outputs }: Signature): number {
  return [...inputs, ...outputs].some(({ dtype }) => dtype === 'image') ? PICTURE_DEPTH : TENSOR_DEPTH;
}
