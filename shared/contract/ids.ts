/**
 * Identifiers: `<prefix>_<10 characters of time><26 characters of chance>`, Crockford base 32 in lower case.
 *
 * They sort by creation time (to the millisecond) and hold 130 random bits, so an id cannot be guessed; they contain no
 * ':' and never consist of digits alone, which BullMQ demands of a job id.
 */
import { createHash, randomFillSync } from 'node:crypto';

export type IdPrefix = 'job' | 'batch' | 'file' | 'evt' | 'whe' | 'dlv' | 'key' | 'tnt' | 'req' | 'wrk';

const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';
const TIME_LENGTH = 10;
const RANDOM_LENGTH = 26;

/** Chance is drawn for many ids at once: a system call each would cost more than all the rest. */
const pool = new Uint8Array(128 * RANDOM_LENGTH);
let used = pool.length;

export function newId(prefix: IdPrefix, nowMs: number): string {
  let chance = '';
  if (used + RANDOM_LENGTH > pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  for (let i = 0; i < RANDOM_LENGTH; i++) chance += ALPHABET.charAt((pool[used++] ?? 0) & 31);
  return `${prefixOfTime(prefix, nowMs)}${chance}`;
}

/** An id that follows from `names`: whoever makes it gets the same. It is as hard to guess as they are. */
export function derivedId(prefix: IdPrefix, atMs: number, ...names: string[]): string {
  const digest = createHash('sha256').update(names.join('\n')).digest();
  let letters = '';
  for (const byte of digest.subarray(0, RANDOM_LENGTH)) letters += ALPHABET.charAt(byte & 31);
  return `${prefixOfTime(prefix, atMs)}${letters}`;
}

/** What ids of `atMs` begin with: no id of before sorts after it, none of then or later before it. */
export function prefixOfTime(prefix: IdPrefix, atMs: number): string {
  let time = '';
  let rest = atMs;
  for (let i = 0; i < TIME_LENGTH; i++) {
    time = ALPHABET.charAt(rest % 32) + time;
    rest = Math.floor(rest / 32);
  }
  return `${prefix}_${time}`;
}

export function isId(prefix: IdPrefix, text: string): boolean {
  return (
    text.length === prefix.length + 1 + TIME_LENGTH + RANDOM_LENGTH &&
    text.startsWith(`${prefix}_`) &&
    /^[0-9a-hjkmnp-tv-z]+$/.test(text.slice(prefix.length + 1))
  );
}
