/**
 * Subframes of FLAC: one channel of one block (RFC 9639, section 9.2). Each is predicted from the samples before, and what
 * remains is stored in Rice codes.
 */
import type { BitReader } from './bit-reader.js';

/**
 * Reads one subframe into `block`.
 * @param bits of each sample; 25 at most, so that every sum is exact in a double
 * @throws {Error} for a subframe that the format does not admit
 */
export function readSubframe(reader: BitReader, block: Int32Array, bits: number): void {
  if (reader.unsigned(1) !== 0) throw new Error('is damaged');
  const type = reader.unsigned(6);
  const wasted = reader.unsigned(1) === 1 ? reader.zeros() + 1 : 0;
  const width = bits - wasted;
  if (width < 1) throw new Error('is damaged');
  if (type === 0) block.fill(reader.signed(width));
  else if (type === 1) readVerbatim(reader, block, block.length, width);
  else if (type >= 8 && type <= 12) readFixed(reader, block, type - 8, width);
  else if (type >= 32) readLinear(reader, block, type - 31, width);
  else throw new Error('is damaged');
  if (wasted > 0) for (let i = 0; i < block.length; i++) block[i] = (block[i] as number) << wasted;
}

function readVerbatim(reader: BitReader, block: Int32Array, count: number, width: number): void {
  if (count > block.length) throw new Error('is damaged');
  for (let i = 0; i < count; i++) block[i] = reader.signed(width);
}

/** The polynomials of the fixed predictors, by their order. */
const FIXED: readonly (readonly number[])[] = [[], [1], [2, -1], [3, -3, 1], [4, -6, 4, -1]];

function readFixed(reader: BitReader, block: Int32Array, order: number, width: number): void {
  readVerbatim(reader, block, order, width);
  readResidual(reader, block, order);
  predict(block, FIXED[order] as readonly number[], 0);
}

function readLinear(reader: BitReader, block: Int32Array, order: number, width: number): void {
  readVerbatim(reader, block, order, width);
  const precision = reader.unsigned(4) + 1;
  const shift = reader.signed(5);
  if (precision === 16 || shift < 0) throw new Error('is damaged');
  const coefficients = Array.from({ length: order }, () => reader.signed(precision));
  readResidual(reader, block, order);
  predict(block, coefficients, shift);
}

/** Adds to each remainder the sum that its predecessors predict. The first sample of the block has none. */
function predict(block: Int32Array, coefficients: readonly number[], shift: number): void {
  const order = coefficients.length;
  const weights = Float64Array.from(coefficients);
  const divisor = 2 ** shift;
  for (let i = order; i < block.length; i++) {
    let sum = 0;
    for (let j = 0; j < order; j++) sum += (weights[j] as number) * (block[i - 1 - j] as number);
    block[i] = (block[i] as number) + Math.floor(sum / divisor);
  }
}

/** Reads what remains behind the first `order` samples, in partitions that have a Rice parameter each. */
function readResidual(reader: BitReader, block: Int32Array, order: number): void {
  const method = reader.unsigned(2);
  if (method > 1) throw new Error('is damaged');
  const width = method === 0 ? 4 : 5;
  const partitions = 2 ** reader.unsigned(4);
  const size = block.length / partitions;
  if (!Number.isInteger(size) || size < order) throw new Error('is damaged');
  for (let partition = 0; partition < partitions; partition++) {
    const start = partition === 0 ? order : partition * size;
    readPartition(reader, block.subarray(start, (partition + 1) * size), width);
  }
}

function readPartition(reader: BitReader, rest: Int32Array, width: number): void {
  const parameter = reader.unsigned(width);
  if (parameter === 2 ** width - 1) {
    readVerbatim(reader, rest, rest.length, reader.unsigned(5));
    return;
  }
  const unit = 2 ** parameter;
  for (let i = 0; i < rest.length; i++) {
    const folded = reader.zeros() * unit + reader.unsigned(parameter);
    rest[i] = (folded >>> 1) ^ -(folded & 1);
  }
}
