/**
 * Sounds at the edge of a model: an encoded file -> float32 samples at the model's rate, × scale.
 *
 * Decoding happens in the child only: a sound that is damaged fails alone, and one that would break the decoder costs no job.
 */

import { decodeAudio } from '../../../shared/audio/audio.js';
import { resample } from '../../../shared/audio/resample.js';
import type { TensorSpec } from '../../../shared/contract/models/manifest.js';
import { audioAxes } from '../../../shared/contract/tensors/audio-input.js';
import { toBytes } from '../../../shared/contract/tensors/elements.js';
import { elementsOf, type Value } from '../../../shared/contract/tensors/tensor.js';

/**
 * Returns float32 of `value.shape`: resampled, mixed down where the model has one channel, and silent behind the end of a sound
 * that is shorter. Throws when the file is damaged, or when it is not as long as its header said.
 */
export function decodeSound(value: Value, spec: TensorSpec): Value {
  const axes = audioAxes(spec.shape);
  if (!axes) throw new Error(`${spec.name} has no samples in its shape`);
  const sound = decodeAudio(value.data);
  const { sampleRate = sound.sampleRate, scale = 1 } = spec;
  const samples = value.shape[axes.samples] ?? 0;
  const count = axes.channels === null ? 1 : (value.shape[axes.channels] ?? 1);
  const channels = count === 1 ? [mixed(sound.channels)] : sound.channels;
  if (channels.length !== count)
    throw new Error(`has ${channels.length} channels, not the announced ${count}`);
  const [stride, step] = axes.channels === 0 ? [samples, 1] : [1, count];
  const data = new Float32Array(elementsOf(value.shape));
  for (const [channel, decoded] of channels.entries()) {
    const resampled = resample(decoded, sound.sampleRate, sampleRate);
    if (resampled.length > samples)
      throw new Error(`has ${resampled.length} samples, not the announced ${samples}`);
    for (let i = 0; i < resampled.length; i++)
      data[channel * stride + i * step] = (resampled[i] as number) * scale;
  }
  return { dtype: 'float32', shape: value.shape, data: toBytes(data) };
}

/** Returns the mean of the channels. */
function mixed(channels: readonly Float32Array[]): Float32Array {
  const [first = new Float32Array(0)] = channels;
  if (channels.length === 1) return first;
  return first.map(
    (_, i) => channels.reduce((sum, channel) => sum + (channel[i] as number), 0) / channels.length,
  );
}
