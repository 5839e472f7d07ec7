/**
 * Ranking: the `postprocess` block of an output keeps the best of many scores, each with its label.
 */
import type { TensorSpec } from '../../../shared/contract/models/manifest.js';
import { toTypedArray } from '../../../shared/contract/tensors/dtypes.js';
import { packRanking, type Value } from '../../../shared/contract/tensors/tensor.js';

/**
 * Returns the `topK` largest scores with their labels, the largest first; of equal scores the one of the lower index.
 * @param value is of floats, with one score for each label.
 */
export function rank(value: Value, { labels = [], postprocess }: TensorSpec): Value {
  const scores = toTypedArray(value.dtype as 'float32' | 'float64', value.data);
  const best = [...labels.keys()]
    .sort((a, b) => (scores[b] ?? 0) - (scores[a] ?? 0) || a - b)
    .slice(0, postprocess?.topK);
  return packRanking(best.map((index) => ({ label: labels[index] ?? '', score: scores[index] ?? 0 })));
}
