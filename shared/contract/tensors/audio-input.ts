/**
 * Encoding an audio input: the encoded sound that a caller sends, and the shape that it will have once decoded and resampled.
 *
 * Only the header is read here, and every bound holds before a sample is decoded. The samples are decoded in the worker's child.
 */

import { type AudioHeader, readAudioHeader } from '../audio/audio-header.js';
import { SAMPLE_RATES } from '../audio/sample-rates.js';
import type { TensorSpec } from '../models/manifest.js';
import { readEncodedFile } from './encoded-file.js';
import { type EncodeValue, fail } from './input-value.js';

/** The longest sound where model.yaml says nothing, in seconds: at 16 kHz it takes 19 MB as float32. */
export const DEFAULT_MAX_SECONDS = 300;
export const MAX_CHANNELS = 8;
/** The most samples of all channels of a file together: 134 MB as float32. A FLAC file holds that much silence in a few kB. */
export const MAX_SAMPLES = 2 ** 25;

/** Where an input has its samples and channels. */
export interface AudioAxes {
  samples: number;
  /** Null for a mono input without this dimension. */
  channels: number | null;
}

/**
 * Returns the dimensions of a shape: [samples], [samples, channels] or [channels, samples]; channels are the one of size 1 to
 * `MAX_CHANNELS`. Null for any other shape.
 */
export function audioAxes(shape: readonly (number | null)[]): AudioAxes | null {
  if (shape.length === 1) return { samples: 0, channels: null };
  if (shape.length !== 2) return null;
  const channels = [1, 0].find((axis) => (shape[axis] ?? Number.POSITIVE_INFINITY) <= MAX_CHANNELS);
  return channels === undefined ? null : { samples: 1 - channels, channels };
}

/** Returns how many samples a channel has at another rate, as `scipy.signal.resample_poly` does. Rates are in Hz. */
export function resampledLength(frames: number, from: number, to: number): number {
  return Math.ceil((frames * to) / from);
}

/** Returns the encoder of one audio input. The shape of its values is that of the model. */
export function createAudioEncoder(spec: TensorSpec): EncodeValue {
  const axes = audioAxes(spec.shape) ?? { samples: 0, channels: null };
  return async (value, path, findFile) => {
    const { bytes, at, source } = await readEncodedFile('audio', 'WAV or FLAC', value, path, findFile);
    const header = headerOf(bytes, source);
    demandBounds(header, spec, at);
    demandChannels(header, spec, axes, at);
    const samples = samplesOf(header, spec, axes, at);
    const shape = axes.channels === null ? [samples] : [samples, samples];
    if (axes.channels !== null) shape[axes.channels] = spec.shape[axes.channels] as number;
    return { dtype: 'audio', shape, data: bytes };
  };
}

function headerOf(bytes: Uint8Array, source: string): AudioHeader {
  try {
    return readAudioHeader(bytes);
  } catch (error) {
    return fail(source, (error as Error).message);
  }
}

function demandBounds({ frames, channels, sampleRate }: AudioHeader, spec: TensorSpec, at: string): void {
  const { maxSeconds = DEFAULT_MAX_SECONDS } = spec;
  const seconds = frames / sampleRate;
  if (frames === 0) fail(at, 'has no samples');
  if (channels > MAX_CHANNELS) fail(at, `has ${channels} channels, more than ${MAX_CHANNELS}`);
  if (sampleRate < SAMPLE_RATES.least || sampleRate > SAMPLE_RATES.most)
    fail(
      at,
      `has ${sampleRate} samples a second; from ${SAMPLE_RATES.least} to ${SAMPLE_RATES.most} are taken`,
    );
  if (seconds > maxSeconds) fail(at, `lasts ${shown(seconds)} s, longer than ${maxSeconds} s`);
  if (frames * channels > MAX_SAMPLES)
    fail(at, `has ${frames} samples in each of ${channels} channels, more than ${MAX_SAMPLES} together`);
}

/** One channel is mixed from any number of them; more must be those of the file. */
function demandChannels({ channels }: AudioHeader, spec: TensorSpec, axes: AudioAxes, at: string): void {
  const wanted = axes.channels === null ? 1 : (spec.shape[axes.channels] ?? 1);
  if (wanted > 1 && channels !== wanted)
    fail(at, `has ${channels} ${channels === 1 ? 'channel' : 'channels'}; the model takes ${wanted}`);
}

/** Returns the samples that the model is given of each channel. */
function samplesOf(header: AudioHeader, spec: TensorSpec, axes: AudioAxes, at: string): number {
  const { sampleRate: rate = header.sampleRate, shape, maxShape, padding, preprocess } = spec;
  const samples = resampledLength(header.frames, header.sampleRate, rate);
  const wanted = shape[axes.samples] ?? null;
  const isPadded = preprocess?.samples === 'pad';
  if (wanted !== null && samples !== wanted && !(isPadded && samples < wanted))
    fail(
      at,
      `has ${lengthOf(samples, rate)}; the model takes ${isPadded ? 'at most' : 'exactly'} ${lengthOf(wanted, rate)}`,
    );
  const most = maxShape?.[axes.samples] ?? padding?.sizes.at(-1) ?? Number.POSITIVE_INFINITY;
  if (wanted === null && samples > most)
    fail(at, `has ${lengthOf(samples, rate)}; the model takes at most ${lengthOf(most, rate)}`);
  return wanted ?? samples;
}

function lengthOf(samples: number, rate: number): string {
  return `${samples} samples at ${rate} Hz (${shown(samples / rate)} s)`;
}

function shown(seconds: number): string {
  return String(Number(seconds.toPrecision(4)));
}
