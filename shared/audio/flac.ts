/**
 * Decodes FLAC (RFC 9639) in time and memory that grow with its bytes and with the samples that its header announces, of which
 * the caller knows that they are few enough. Each frame is proved by its checksums (decisions.md, SHR-80).
 */
import type { AudioHeader } from '../contract/audio/audio-header.js';
import { type BitReader, createBitReader } from './bit-reader.js';
import { readSubframe } from './flac-subframe.js';

/** Returns one array of samples for each channel, -1 to 1. Throws when the file is damaged, or has not the announced samples. */
export function decodeFlac(bytes: Uint8Array, header: AudioHeader): Float32Array[] {
  const { channels, bits, frames } = header;
  // A header may announce what never comes, so memory is taken by block.
  const blocks: Float32Array[][] = [];
  let at = header.start;
  for (let read = 0; read < frames; ) {
    const frame = readFrame(bytes, at, header);
    const size = (frame.blocks[0] as Int32Array).length;
    read += size;
    if (read > frames) throw new Error(`has more than the ${frames} samples that its header announces`);
    blocks.push(frame.blocks.map((block) => scaled(block, bits)));
    at = frame.end;
  }
  return Array.from({ length: channels }, (_, channel) => joined(blocks, channel, frames));
}

function scaled(block: Int32Array, bits: number): Float32Array {
  const factor = 2 ** (1 - bits);
  return Float32Array.from(block, (sample) => sample * factor);
}

function joined(blocks: readonly Float32Array[][], channel: number, frames: number): Float32Array {
  const all = new Float32Array(frames);
  let at = 0;
  for (const block of blocks) {
    const samples = block[channel] as Float32Array;
    all.set(samples, at);
    at += samples.length;
  }
  return all;
}

interface Frame {
  blocks: Int32Array[];
  /** Where the next frame begins. */
  end: number;
}

/** How two channels are stored, by their code; codes below 8 are independent channels. */
const LEFT_SIDE = 8;
const SIDE_RIGHT = 9;
const MID_SIDE = 10;

function readFrame(bytes: Uint8Array, start: number, header: AudioHeader): Frame {
  const reader = createBitReader(bytes, start);
  const { size, assignment } = readFrameHeader(reader, bytes, start, header);
  const blocks: Int32Array[] = [];
  for (let channel = 0; channel < header.channels; channel++) {
    const isSide = assignment === SIDE_RIGHT ? channel === 0 : assignment >= LEFT_SIDE && channel === 1;
    const block = new Int32Array(size);
    readSubframe(reader, block, header.bits + (isSide ? 1 : 0));
    blocks.push(block);
  }
  const end = reader.align();
  if (reader.unsigned(16) !== crc(bytes, start, end, CRC16)) throw new Error('is damaged');
  const [left, right] = blocks;
  if (left && right) separate(left, right, assignment);
  return { blocks, end: end + 2 };
}

/** Reads the header of a frame (RFC 9639, section 9.1). A frame must be like the whole file. */
function readFrameHeader(
  reader: BitReader,
  bytes: Uint8Array,
  start: number,
  { channels, bits }: AudioHeader,
): { size: number; assignment: number } {
  // The last bit says whether the coming number counts frames or samples; neither is needed.
  if (reader.unsigned(16) >>> 1 !== 0x7ffc) throw new Error('is damaged');
  const [sizeCode, rateCode, assignment] = [reader.unsigned(4), reader.unsigned(4), reader.unsigned(4)];
  const bitsCode = reader.unsigned(4) >>> 1;
  const codedBytes = Math.clz32(~(reader.unsigned(8) << 24));
  for (let i = 1; i < codedBytes; i++) reader.unsigned(8);
  const size = blockSize(reader, sizeCode);
  if (rateCode >= 12) reader.unsigned(rateCode === 12 ? 8 : 16);
  const end = reader.align();
  const stored = assignment < LEFT_SIDE ? assignment + 1 : 2;
  const isAlike = stored === channels && assignment <= MID_SIDE && [0, bits].includes(BITS[bitsCode] ?? -1);
  if (reader.unsigned(8) !== crc(bytes, start, end, CRC8) || size === 0 || rateCode === 15 || !isAlike)
    throw new Error('is damaged');
  return { size, assignment };
}

/** The bits of a sample, by their code; 0 stands for those of the file. */
const BITS: readonly (number | undefined)[] = [0, 8, 12, undefined, 16, 20, 24];

/** Returns the samples of a block; 0 for a code that has no meaning. */
function blockSize(reader: BitReader, code: number): number {
  if (code === 0) return 0;
  if (code === 1) return 192;
  if (code <= 5) return 576 * 2 ** (code - 2);
  if (code === 6) return reader.unsigned(8) + 1;
  return code === 7 ? reader.unsigned(16) + 1 : 256 * 2 ** (code - 8);
}

/** Makes left and right of channels of which one is the difference, or half the sum. */
function separate(first: Int32Array, second: Int32Array, assignment: number): void {
  for (let i = 0; i < first.length; i++) {
    const [a, b] = [first[i] as number, second[i] as number];
    if (assignment === LEFT_SIDE) second[i] = a - b;
    else if (assignment === SIDE_RIGHT) first[i] = a + b;
    else if (assignment === MID_SIDE) {
      const sum = (a << 1) | (b & 1);
      first[i] = (sum + b) >> 1;
      second[i] = (sum - b) >> 1;
    }
  }
}

/** The remainders of each byte by a polynomial. */
interface Crc {
  width: 8 | 16;
  remainders: Uint16Array;
}

function crcOf(width: 8 | 16, polynomial: number): Crc {
  const top = 2 ** (width - 1);
  const remainders = Uint16Array.from({ length: 256 }, (_, byte) => {
    let rest = byte << (width - 8);
    for (let bit = 0; bit < 8; bit++) rest = rest & top ? (rest << 1) ^ polynomial : rest << 1;
    return rest & (2 ** width - 1);
  });
  return { width, remainders };
}

const CRC8 = crcOf(8, 0x07);
const CRC16 = crcOf(16, 0x8005);

function crc(bytes: Uint8Array, start: number, end: number, { width, remainders }: Crc): number {
  const mask = 2 ** width - 1;
  let rest = 0;
  for (let i = start; i < end; i++)
    rest = ((rest << 8) & mask) ^ (remainders[(rest >>> (width - 8)) ^ (bytes[i] as number)] as number);
  return rest;
}
