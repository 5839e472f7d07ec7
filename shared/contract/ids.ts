/**
 * Identifiers: `<prefix>_<10 characters of time><26 random characters>`, Crockford base 32 in lower case.
 *
 * They sort by the time of their creation, to the millisecond, and hold 130 random bits, so an id cannot be guessed. They
 * contain no ':' and do not consist of digits alone, as BullMQ demands of a job's id.
 */
import { createHash, randomFillSync } from 'node:crypto';

export type IdPrefix =
  | 'job'
  | 'batch'
  | 'file'
  | 'evt'
  | 'whe'
  | 'dlv'
  | 'key'
  | 'tnt'
  | 'req'
  | 'wrk'
  | 'mdl';

const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';
const TIME_LENGTH = 10;
const RANDOM_LENGTH = 26;

/** Random bytes for many ids, drawn at once, because a system call for each would cost more than all the rest. */
const pool = new Uint8Array(128 * RANDOM_LENGTH);
let used = pool.length;

/** Returns a new id; `nowMs` is in milliseconds since the Unix epoch. */
export function newId(prefix: IdPrefix, nowMs: number): string {
  let random = '';
  if (used + RANDOM_LENGTH > pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  for (let i = 0; i < RANDOM_LENGTH; i++) random += ALPHABET.charAt((pool[used++] ?? 0) & 31);
  return `${prefixOfTime(prefix, nowMs)}${random}`;
}

/** Returns the id that follows from `names`: the same names give the same id, which is as hard to guess as they are. */
export function derivedId(prefix: IdPrefix, atMs: number, ...names: string[]): string {
  const digest = createHash('sha256').update(names.join('\n')).digest();
  let letters = '';
  for (const byte of digest.subarray(0, RANDOM_LENGTH)) letters += ALPHABET.charAt(byte & 31);
  return `${prefixOfTime(prefix, atMs)}${letters}`;
}

/** Returns the beginning of all ids made at `atMs`. Earlier ids sort before it, and later ones after it. */
export function prefixOfTime(prefix: IdPrefix, atMs: number): string {
  let time = '';
  let rest = atMs;
  for (let i = 0; i < TIME_LENGTH; i++) {
    time = ALPHABET.charAt(rest % 32) + time;
    rest = Math.floor(rest / 32);
  }
  return `${prefix}_${time}`;
}

/** Tells whether `text` has the form of an id with this prefix. */
export function isId(prefix: IdPrefix, text: string): boolean {
  return (
    text.length === prefix.length + 1 + TIME_LENGTH + RANDOM_LENGTH &&
    text.startsWith(`${prefix}_`) &&
    /^[0-9a-hjkmnp-tv-z]+$/.test(text.slice(prefix.length + 1))
  );
}
