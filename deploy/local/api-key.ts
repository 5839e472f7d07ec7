/**
 * The newcomer's API key, made once and kept in a file that only its owner may read.
 */
import { randomInt } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ConfigError } from '../../shared/base/config.js';

const KEY_FILE = 'api-key';
const BASE62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const RANDOM_LENGTH = 32;

/**
 * Returns the configured key, else the one in the data folder, which is made when there is none.
 *
 * @throws {ConfigError} when the file holds no API key
 */
export function ensureApiKey(dataDir: string, configured: string | undefined): string {
  if (configured) return configured;
  const file = join(dataDir, KEY_FILE);
  try {
    const key = newKey();
    writeFileSync(file, `${key}\n`, { mode: 0o600, flag: 'wx' });
    return key;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  const key = readFileSync(file, 'utf8').trim();
  if (!/^slk_[0-9A-Za-z]{22,}$/.test(key))
    throw new ConfigError(
      `${file} holds no API key (slk_ and 22 or more letters and digits); delete it for a new one.`,
    );
  return key;
}

function newKey(): string {
  return `slk_${Array.from({ length: RANDOM_LENGTH }, () => BASE62.charAt(randomInt(BASE62.length))).join('')}`;
}
