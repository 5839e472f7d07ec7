/** Finds the API that a command of `sluice` works with: the one it is told, else the one that the launcher runs. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { API_ADDRESS_FILE, type CommandConfig, loadCommandConfig } from '../../shared/contract/config.js';
import type { Api } from './call-api.js';
import { EXIT, Failure } from './terminal.js';

export const KEY_FILE = 'api-key';
export const DEFAULT_URL = 'http://127.0.0.1:8080';

/**
 * Returns where the API is and the key for it. What the options do not give comes from the environment, else from the
 * data folder of the launcher.
 *
 * @throws {Failure} when there is no key, or a file holds something else; a ConfigError when a variable has a fault
 */
export function findApi({ url, key }: { url?: string; key?: string }): Api {
  if (url !== undefined && key !== undefined) return { url, key };
  const config = loadCommandConfig();
  return { url: url ?? urlOf(config), key: key ?? keyOf(config) };
}

function urlOf(config: CommandConfig): string {
  if (config.SLUICE_URL) return config.SLUICE_URL;
  const file = join(config.SLUICE_DATA_DIR, API_ADDRESS_FILE);
  const url = read(file) ?? DEFAULT_URL;
  if (URL.canParse(url) && /^https?:$/.test(new URL(url).protocol)) return url;
  throw new Failure(EXIT.usage, `${file} holds no address; --url gives one.`);
}

function keyOf(config: CommandConfig): string {
  const key = config.SLUICE_API_KEY ?? config.SLUICE_BOOTSTRAP_KEY;
  if (key) return key;
  const file = join(config.SLUICE_DATA_DIR, KEY_FILE);
  const kept = read(file);
  if (kept === null)
    throw new Failure(
      EXIT.usage,
      `There is no API key in ${file}, where \`npm start\` keeps one; --key gives it.`,
    );
  if (isKey(kept)) return kept;
  throw new Failure(EXIT.usage, `${file} holds no API key; --key gives one.`);
}

/** Tells whether a text can be a key. A header can carry nothing else. */
export function isKey(text: string): boolean {
  return /^[\x21-\x7e]+$/.test(text);
}

function read(file: string): string | null {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch {
    return null;
  }
}
