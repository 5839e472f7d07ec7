/**
 * Decodes encoded sounds. Their bytes come from strangers.
 *
 * Promises: time and memory grow with the file and with the samples that its header announces, which the encoder of the input
 * bounds (audio-input.ts). No damaged file is decoded in part.
 */
import { readAudioHeader } from '../contract/audio/audio-header.js';
import { decodeFlac } from './flac.js';
import { decodeWav } from './wav.js';

export interface Sound {
  /** In Hz. */
  sampleRate: number;
  /** One array of equal length for each channel, with samples from -1 to 1. */
  channels: Float32Array[];
}

/** Returns the decoded sound. Throws, with a message for the caller, when the bytes are none or are damaged. */
export function decodeAudio(bytes: Uint8Array): Sound {
  const header = readAudioHeader(bytes);
  const channels = header.format === 'wav' ? decodeWav(bytes, header) : decodeFlac(bytes, header);
  return { sampleRate: header.sampleRate, channels };
}
