/**
 * Decodes the samples of a WAV file: integers of 8 to 32 bits, floats of 32 and 64.
 */
import type { AudioHeader } from '../contract/audio/audio-header.js';

/** Returns one array of samples for each channel, -1 to 1; floats are taken as they are. Throws for NaN and Infinity. */
export function decodeWav(bytes: Uint8Array, header: AudioHeader): Float32Array[] {
  const { channels, bits, frames, start } = header;
  const sampleAt = samplesOf(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), header);
  const width = bits / 8;
  return Array.from({ length: channels }, (_, channel) => {
    const samples = new Float32Array(frames);
    for (let i = 0; i < frames; i++) {
      const sample = sampleAt(start + (i * channels + channel) * width);
      if (!Number.isFinite(sample)) throw new Error('has NaN or Infinity among its samples');
      samples[i] = sample;
    }
    return samples;
  });
}

/** Returns the reader of one sample. Bytes are unsigned, all wider integers signed. */
function samplesOf(view: DataView, { encoding, bits }: AudioHeader): (at: number) => number {
  if (encoding === 'float')
    return bits === 32 ? (at) => view.getFloat32(at, true) : (at) => Math.fround(view.getFloat64(at, true));
  if (bits === 8) return (at) => (view.getUint8(at) - 128) / 2 ** 7;
  if (bits === 16) return (at) => view.getInt16(at, true) / 2 ** 15;
  if (bits === 24) return (at) => (view.getUint16(at, true) + view.getInt8(at + 2) * 2 ** 16) / 2 ** 23;
  return (at) => view.getInt32(at, true) / 2 ** 31;
}
