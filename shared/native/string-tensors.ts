/**
 * Whether the binding leaves strings alone that other tensors hold, too.
 *
 * The binding of tfjs-node-gpu 4.22 frees the strings of a tensor together with its handle, though the constants of a graph may be
 * the same strings, and then are empty from the second run on. `deploy/native` builds it without that fault.
 */
import type { NodeJSKernelBackend } from '@tensorflow/tfjs-node-gpu/dist/nodejs_kernel_backend.js';
import type { Tensorflow } from './tensorflow-library.js';

/** TensorFlow keeps up to 22 bytes within a string itself, so that nothing is freed. */
const LONG = Buffer.from('a text of more than twenty-two bytes');

/** Tries it with a tensor that shares its strings with another one. */
export function keepsSharedStrings(tf: Tensorflow): boolean {
  const { binding } = tf.backend() as NodeJSKernelBackend;
  const given = binding.createTensor([1], binding.TF_STRING, [LONG] as never);
  const attributes = [{ name: 'T', type: binding.TF_ATTR_TYPE, value: binding.TF_STRING }];
  const [shared] = binding.executeOp('Identity', attributes, [given], 1);
  binding.deleteTensor(given);
  if (!shared) return false;
  const [kept] = binding.tensorDataSync(shared.id) as unknown as Uint8Array[];
  binding.deleteTensor(shared.id);
  return kept !== undefined && LONG.equals(kept);
}
