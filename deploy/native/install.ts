/**
 * `npm run backend:install -- cpu|cuda`: brings TensorFlow's C library and builds the binding of tfjs-node-gpu to it.
 *
 * States of a flavour in the cache: absent -> being made in a folder of its own -> installed (one rename). An install that is
 * cut off leaves the flavour as it was, and a later install removes the half-made folder. An installed flavour is checked
 * and used, and nothing is fetched.
 */
import { randomUUID } from 'node:crypto';
import { mkdirSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename, join, relative, resolve } from 'node:path';
import { systemClock } from '../../shared/base/clock.js';
import { ConfigError } from '../../shared/base/config.js';
import { messageOf } from '../../shared/base/errors.js';
import { loadConfig } from '../../shared/contract/config.js';
import {
  bindingVersion,
  FLAVOURS,
  type Flavour,
  faultOfInstall,
  homeAt,
  homeName,
  isInstalled,
  type NativeManifest,
  nativeHome,
  TENSORFLOW_VERSION,
} from '../../shared/native/tensorflow-library.js';
import { buildBinding } from './build.js';
import { probe } from './probe.js';
import { requireTools } from './tools.js';
import { fetchWheels, SIZES, unpackWheel } from './wheels.js';

/** A half-made folder that has not been touched for so long belongs to an install that was cut off. */
const ABANDONED_MS = 6 * 3600 * 1000;

async function install(cacheDir: string, flavour: Flavour, signal: AbortSignal): Promise<void> {
  const home = nativeHome(cacheDir, flavour);
  const fault = faultOfInstall(cacheDir, flavour);
  if (fault === null) {
    say(`TensorFlow ${TENSORFLOW_VERSION} (${flavour}) is installed in ${home.root}`);
  } else {
    say(`TensorFlow ${TENSORFLOW_VERSION} (${flavour}): ${fault}; installing to ${home.root}`);
    await requireTools(signal);
    mkdirSync(cacheDir, { recursive: true });
    removeAbandoned(cacheDir, flavour);
    // mkdtemp would make a folder for this user alone, and a worker may run as another.
    const draft = join(cacheDir, `.${homeName(flavour)}-${randomUUID().slice(0, 8)}`);
    mkdirSync(draft);
    try {
      await make(draft, flavour, signal);
      publish(draft, cacheDir, flavour);
    } finally {
      rmSync(draft, { recursive: true, force: true });
    }
  }
  await tryOut(cacheDir, flavour, signal);
}

async function make(draft: string, flavour: Flavour, signal: AbortSignal): Promise<void> {
  const { downloadMb, diskGb } = SIZES[flavour];
  const folder = join(draft, 'wheels');
  const wheels = await step(
    `fetching ${downloadMb} MB with pip (needs ${diskGb} GB of disk for now)`,
    () => fetchWheels(flavour, folder, signal),
    (files) => `${files.length} wheel(s), ${megabytes(files)} MB, sha256 as pinned`,
  );
  await step('unpacking the libraries', async () => {
    for (const wheel of wheels) {
      await unpackWheel(wheel, draft, signal);
      rmSync(wheel); // one at a time, so that the disk need not hold both of all
    }
  });
  rmSync(folder, { recursive: true });
  await step('building the binding of tfjs-node-gpu with g++', () => buildBinding(draft, signal));
  const manifest: NativeManifest = {
    tensorflow: TENSORFLOW_VERSION,
    binding: bindingVersion(),
    files: sizesIn(draft),
  };
  writeFileSync(homeAt(draft).manifest, `${JSON.stringify(manifest, null, 2)}\n`);
}

/** Puts the finished folder in its place. A faulty one makes way; a good one stays, because another install was faster. */
function publish(draft: string, cacheDir: string, flavour: Flavour): void {
  const { root } = nativeHome(cacheDir, flavour);
  if (isInstalled(cacheDir, flavour)) return;
  const old = `${draft}.old`;
  try {
    renameSync(root, old);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  renameSync(draft, root);
  rmSync(old, { recursive: true, force: true });
}

async function tryOut(cacheDir: string, flavour: Flavour, signal: AbortSignal): Promise<void> {
  const { result, complaints } = await step(
    'running a model',
    () => probe(cacheDir, flavour, signal),
    ({ result }) =>
      `TensorFlow ${result.tensorflow}, tfjs ${result.tfjs}: computed ${result.computed}, expected ${result.expected} ` +
      `(loaded in ${result.loadMs} ms, ran in ${result.runMs} ms)`,
  );
  if (result.gpu) return say('A GPU is in use.');
  if (flavour === 'cpu') return say('Runs on the CPU: backend `native`.');
  say(
    'No GPU is in use: it computed on the CPU, and the backend `cuda` will refuse to start. TensorFlow said:',
  );
  for (const line of complaints.length > 0 ? complaints : ['(nothing)']) say(`  ${line}`);
}

async function step<T>(what: string, act: () => Promise<T>, outcome?: (value: T) => string): Promise<T> {
  say(`- ${what} …`);
  const start = systemClock.monotonic();
  const value = await act();
  const seconds = ((systemClock.monotonic() - start) / 1000).toFixed(1);
  say(`  ${outcome ? outcome(value) : 'done'}, ${seconds} s`);
  return value;
}

function removeAbandoned(cacheDir: string, flavour: Flavour): void {
  for (const name of readdirSync(cacheDir)) {
    const path = join(cacheDir, name);
    const isDraft = name.startsWith(`.${homeName(flavour)}-`);
    if (isDraft && systemClock.now() - statSync(path).mtimeMs > ABANDONED_MS)
      rmSync(path, { recursive: true, force: true });
  }
}

function sizesIn(root: string): Record<string, number> {
  const files = readdirSync(root, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const paths = files.map((entry) => join(entry.parentPath, entry.name)).sort();
  return Object.fromEntries(paths.map((path) => [relative(root, path), statSync(path).size]));
}

function megabytes(files: readonly string[]): number {
  return Math.round(files.reduce((sum, file) => sum + statSync(file).size, 0) / 1e6);
}

function say(line: string): void {
  console.log(line);
}

async function main(): Promise<void> {
  const flavour = FLAVOURS.find((name) => name === process.argv[2]);
  if (!flavour || process.argv.length > 3)
    throw new ConfigError(
      `Usage: npm run backend:install -- ${FLAVOURS.join('|')}   (${basename(process.argv[1] ?? '')} takes one flavour)`,
    );
  const controller = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => controller.abort());
  await install(resolve(loadConfig().SLUICE_CACHE_DIR), flavour, controller.signal);
}

main().catch((error: unknown) => {
  console.error(messageOf(error));
  process.exitCode = error instanceof ConfigError ? error.exitCode : 1;
});
