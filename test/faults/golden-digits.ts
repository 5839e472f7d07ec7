/**
 * Instances whose answers are known without asking Sluice: the golden vectors that came with the model. A poisoned one is
 * a digit whose first pixel has a value that no picture has (see poison.ts).
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../support/stack.js';
import type { Entry, Poison } from './evidence.js';

interface Golden {
  instances: { b64: string }[];
  outputs: { probabilities: { b64: string } }[];
}

/** First pixel of a poisoned digit. */
export const POISONS: Readonly<Record<Poison, number>> = { throws: -1, aborts: -2, hangs: -3, swells: -4 };

const TOLERANCE = 1e-4;
const golden = JSON.parse(readFileSync(join(ROOT, 'deploy/models/mnist/1/golden.json'), 'utf8')) as Golden;
const expected = golden.outputs.map(({ probabilities }) => Array.from(floatsOf(probabilities.b64)));

/** As the body of a submit holds them; the last one is poisoned where the order says so. */
export function instancesOf({ digits, poison }: Pick<Entry, 'digits' | 'poison'>): { b64: string }[] {
  const instances = digits.map((digit) => golden.instances[digit] ?? { b64: '' });
  const last = instances.at(-1);
  return poison && last ? [...instances.slice(0, -1), poisoned(last.b64, poison)] : instances;
}

/** Returns what is wrong with the predictions, or null when each digit has those that it has when computed alone. */
export function faultIn(predictions: unknown[] | null, digits: readonly number[]): string | null {
  if (predictions?.length !== digits.length)
    return `${predictions?.length ?? 'no'} predictions for ${digits.length} instances`;
  const wrong = digits.findIndex((digit, row) => !isClose(predictions[row], expected[digit] ?? []));
  return wrong < 0 ? null : `row ${wrong} is not what digit ${digits[wrong]} gives`;
}

/** The ten probabilities that the model has for a digit. */
export function predictionOf(digit: number): number[] {
  return [...(expected[digit] ?? [])];
}

function poisoned(b64: string, poison: Poison): { b64: string } {
  const pixels = floatsOf(b64);
  pixels[0] = POISONS[poison];
  return { b64: Buffer.from(pixels.buffer).toString('base64') };
}

function floatsOf(b64: string): Float32Array {
  return new Float32Array(new Uint8Array(Buffer.from(b64, 'base64')).buffer);
}

function isClose(row: unknown, right: readonly number[]): boolean {
  return (
    Array.isArray(row) &&
    row.length === right.length &&
    right.every((value, i) => typeof row[i] === 'number' && Math.abs(row[i] - value) <= TOLERANCE)
  );
}
