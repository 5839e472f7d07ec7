/**
 * A secret that is made once and kept in a file which only its owner may read.
 */
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { ConfigError } from '../../shared/base/config.js';

const PRIVATE_MODE = 0o600;

/** The form of a secret, and of the file that holds it. */
export interface SecretForm {
  /** Names the secret, for people. */
  name: string;
  make(): string;
  /** Returns the text of the file. */
  write(secret: string): string;
  /** Matches the text of the file; its first group is the secret. */
  pattern: RegExp;
  /** Tells people what the file must hold. */
  demand: string;
}

/**
 * Returns the secret in `file`, which is made when there is none.
 *
 * @throws {ConfigError} when the file holds something else
 */
export function keptSecret(file: string, form: SecretForm): string {
  try {
    const secret = form.make();
    writeFileSync(file, form.write(secret), { mode: PRIVATE_MODE, flag: 'wx' });
    return secret;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  // A copy of the folder, or a hand, may have changed the mode.
  chmodSync(file, PRIVATE_MODE);
  const [, secret] = form.pattern.exec(readFileSync(file, 'utf8')) ?? [];
  if (secret === undefined)
    throw new ConfigError(`${file} holds no ${form.name} (${form.demand}); delete it for a new one.`);
  return secret;
}
