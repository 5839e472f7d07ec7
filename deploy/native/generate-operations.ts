/**
 * `npm run generate:operations`: writes the class of each operation that the installed TensorFlow has. `-- --check` writes nothing,
 * and fails with what a new release has changed.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { messageOf } from '../../shared/base/errors.js';
import { loadConfig } from '../../shared/contract/config.js';
import { TENSORFLOW_VERSION } from '../../shared/native/tensorflow-library.js';
import { tableOf } from './operation-rules.js';
import { registeredOperations } from './registered-operations.js';

const TABLE = resolve('shared/model-packages/saved-model/operations.tsv');

async function main(): Promise<void> {
  const stop = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => stop.abort());
  const { SLUICE_CACHE_DIR } = loadConfig();
  const made = tableOf(TENSORFLOW_VERSION, await registeredOperations(SLUICE_CACHE_DIR, stop.signal));
  const [before, after] = [readFileSync(TABLE, 'utf8'), made].map((text) => text.split('\n')) as [
    string[],
    string[],
  ];
  const gone = before.filter((line) => !after.includes(line));
  const come = after.filter((line) => !before.includes(line));
  for (const line of [...gone.map((each) => `- ${each}`), ...come.map((each) => `+ ${each}`)])
    console.log(line);
  if (!process.argv.includes('--check')) writeFileSync(TABLE, made);
  else if (gone.length + come.length > 0) throw new Error(`${TABLE} is not up to date`);
}

main().catch((error: unknown) => {
  console.error(messageOf(error));
  process.exitCode = 1;
});
