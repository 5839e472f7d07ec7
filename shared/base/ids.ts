/**
 * Identifiers: `<prefix>_<10 characters of time><26 characters of chance>`, Crockford base 32 in lower case.
 *
 * They sort by creation time (to the millisecond) and hold 130 random bits, so an id cannot be guessed; they contain no
 * ':' and never consist of digits alone, which BullMQ demands of a job id.
 */
import { randomFillSync } from 'node:crypto';

export type IdPrefix = 'job' | 'batch' | 'file' | 'evt' | 'dlv' | 'key' | 'tnt' | 'req' | 'wrk';

const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';
const TIME_LENGTH = 10;
const RANDOM_LENGTH = 26;

/** Chance is drawn for many ids at once: a system call each would cost more than all the rest. */
const pool = new Uint8Array(128 * RANDOM_LENGTH);
let used = pool.length;

export function newId(prefix: IdPrefix, nowMs: number): string {
  let time = '';
  let rest = nowMs;
  for (let i = 0; i < TIME_LENGTH; i++) {
    time = ALPHABET.charAt(rest % 32) + time;
    rest = Math.floor(rest / 32);
  }
  let chance = '';
  if (used + RANDOM_LENGTH > pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  for (let i = 0; i < RANDOM_LENGTH; i++) chance += ALPHABET.charAt((pool[used++] ?? 0) & 31);
  return `${prefix}_${time}${chance}`;
}

export function isId(prefix: IdPrefix, text: string): boolean {
  return (
    text.length === prefix.length + 1 + TIME_LENGTH + RANDOM_LENGTH &&
    text.startsWith(`${prefix}_`) &&
    /^[0-9a-hjkmnp-tv-z]+$/.test(text.slice(prefix.length + 1))
  );
}
