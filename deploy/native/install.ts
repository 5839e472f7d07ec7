/**
 * `npm run backend:install -- cpu|cuda|onnx`: brings the library of a backend into the cache, where its workers look for it.
 *
 * An installed library is checked and used, and nothing is fetched.
 */
import { basename, resolve } from 'node:path';
import { ConfigError } from '../../shared/base/config.js';
import { messageOf } from '../../shared/base/errors.js';
import { loadConfig } from '../../shared/contract/config.js';
import { FLAVOURS } from '../../shared/native/tensorflow-library.js';
import { installOnnxRuntime } from './install-onnx-runtime.js';
import { installTensorflow } from './install-tensorflow.js';

type Install = (cacheDir: string, signal: AbortSignal) => Promise<void>;

const INSTALLS: Readonly<Record<string, Install>> = {
  ...Object.fromEntries(
    FLAVOURS.map((flavour): [string, Install] => [
      flavour,
      (cacheDir, signal) => installTensorflow(cacheDir, flavour, signal),
    ]),
  ),
  onnx: installOnnxRuntime,
};

async function main(): Promise<void> {
  const [, script = '', name = '', ...rest] = process.argv;
  const install = Object.hasOwn(INSTALLS, name) ? INSTALLS[name] : undefined;
  if (!install || rest.length > 0)
    throw new ConfigError(
      `Usage: npm run backend:install -- ${Object.keys(INSTALLS).join('|')}   (${basename(script)} takes one of them)`,
    );
  const controller = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => controller.abort());
  await install(resolve(loadConfig().SLUICE_CACHE_DIR), controller.signal);
}

main().catch((error: unknown) => {
  console.error(messageOf(error));
  process.exitCode = error instanceof ConfigError ? error.exitCode : 1;
});
