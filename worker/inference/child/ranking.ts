/**
 * The `postprocess` block of an output: of many scores the best, each with its label.
 */
import type { TensorSpec } from '../../../shared/contract/models/manifest.js';
import { packRanking, toTypedArray, type Value } from '../../../shared/contract/tensors/tensor.js';

/** The `topK` largest of `value` [labels], the largest first; of equal ones that of the lower index. */
export function rank(value: Value, { labels = [], postprocess }: TensorSpec): Value {
  const scores = toTypedArray('float32', value.data);
  const best = [...labels.keys()]
    .sort((a, b) => (scores[b] ?? 0) - (scores[a] ?? 0) || a - b)
    .slice(0, postprocess?.topK);
  return packRanking(best.map((index) => ({ label: labels[index] ?? '', score: scores[index] ?? 0 })));
}
