/**
 * The newcomer's API key, made once and kept in a file that only its owner may read.
 */
import { randomInt } from 'node:crypto';
import { join } from 'node:path';
import { keptSecret, type SecretForm } from './kept-secret.js';

const KEY_FILE = 'api-key';
const BASE62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const RANDOM_LENGTH = 32;

const KEY: SecretForm = {
  name: 'API key',
  make: () =>
    `slk_${Array.from({ length: RANDOM_LENGTH }, () => BASE62.charAt(randomInt(BASE62.length))).join('')}`,
  write: (key) => `${key}\n`,
  pattern: /^\s*(slk_[0-9A-Za-z]{22,})\s*$/,
  demand: 'slk_ and 22 or more letters and digits',
};

/**
 * Returns the configured key, else the one in the data folder, which is made when there is none.
 *
 * @throws {ConfigError} when the file holds no API key
 */
export function ensureApiKey(dataDir: string, configured: string | undefined): string {
  return configured || keptSecret(join(dataDir, KEY_FILE), KEY);
}
