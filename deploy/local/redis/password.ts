/**
 * The password of the launcher's Redis, made once for a data folder.
 *
 * It is kept as a line of redis.conf, and Redis reads it from that file: every user of the machine sees the arguments of a
 * program. Whoever needs the password finds it in the address that the launcher hands out.
 */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { keptSecret, type SecretForm } from '../kept-secret.js';

const PASSWORD_FILE = 'password.conf';
/** Redis answers very many guesses a second, so a password must be long. */
const RANDOM_BYTES = 32;

const PASSWORD: SecretForm = {
  name: 'password of Redis',
  make: () => randomBytes(RANDOM_BYTES).toString('hex'),
  write: (password) => `requirepass ${password}\n`,
  // No password of fewer signs is taken, and none that a URL would have to escape.
  pattern: /^requirepass ([0-9A-Za-z]{32,})\s*$/,
  demand: 'requirepass and 32 or more letters and digits',
};

/** Arguments of redis-server that make it ask for the password of the folder that it runs in. */
export const PASSWORD_SETTINGS = ['--include', PASSWORD_FILE] as const;

/**
 * Returns the password of the Redis in `dir`, which is made when there is none.
 *
 * @throws {ConfigError} when its file holds something else
 */
export function ensureRedisPassword(dir: string): string {
  return keptSecret(join(dir, PASSWORD_FILE), PASSWORD);
}
