/** The sounds of test/fixtures/sounds, and WAV files made by hand. */
import { readdirSync, readFileSync } from 'node:fs';

const FOLDER = new URL('../fixtures/sounds/', import.meta.url);

export const SOUND_NAMES: readonly string[] = readdirSync(FOLDER).filter((name) =>
  /\.(wav|flac)$/.test(name),
);

export function soundFile(name: string): Buffer {
  return readFileSync(new URL(name, FOLDER));
}

/** Returns the float32 values of a file of references. */
export function floatsOf(name: string): Float32Array {
  return Float32Array.from(new Float32Array(new Uint8Array(soundFile(name)).buffer));
}

/** The pairs of rates of which there are references of resampling. */
export const RATE_PAIRS: readonly (readonly [number, number])[] = readdirSync(
  new URL('resampled/', FOLDER),
).flatMap((name) => {
  const [, from, to] = /^(\d+)-(\d+)\.f32$/.exec(name) ?? [];
  return from && to ? [[Number(from), Number(to)] as const] : [];
});

/** Returns a mono WAV file of 16 bits; samples are integers. */
export function wavOf(
  samples: readonly number[],
  rate = 16_000,
  changes: Record<number, number> = {},
): Buffer {
  const data = Buffer.from(Int16Array.from(samples).buffer);
  const head = Buffer.alloc(44);
  head.write('RIFF');
  head.writeUInt32LE(36 + data.length, 4);
  head.write('WAVEfmt ', 8);
  head.writeUInt32LE(16, 16);
  head.writeUInt16LE(1, 20);
  head.writeUInt16LE(1, 22);
  head.writeUInt32LE(rate, 24);
  head.writeUInt32LE(rate * 2, 28);
  head.writeUInt16LE(2, 32);
  head.writeUInt16LE(16, 34);
  head.write('data', 36);
  head.writeUInt32LE(data.length, 40);
  for (const [at, byte] of Object.entries(changes)) head.writeUInt8(byte, Number(at));
  return Buffer.concat([head, data]);
}
