/**
 * Brings TensorFlow's C library in one of its flavours and builds the binding of tfjs-node-gpu to it.
 */
import { randomUUID } from 'node:crypto';
import { readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import {
  bindingVersion,
  type Flavour,
  faultOfInstall,
  homeAt,
  homeName,
  type NativeManifest,
  nativeHome,
  TENSORFLOW_VERSION,
} from '../../shared/native/tensorflow-library.js';
import { runCommand } from '../run-command.js';
import { buildBinding } from './build.js';
import { installInCache, megabytes, say, step } from './cached-install.js';
import { probe } from './probe.js';
import { requireTools } from './tools.js';
import { fetchWheels, SIZES, unpackWheel, wheelsOf } from './wheels.js';

/** Installs a flavour unless it is installed, and runs a model on it. */
export async function installTensorflow(
  cacheDir: string,
  flavour: Flavour,
  signal: AbortSignal,
): Promise<void> {
  const { root } = nativeHome(cacheDir, flavour);
  const fault = faultOfInstall(cacheDir, flavour);
  if (fault === null) {
    say(`TensorFlow ${TENSORFLOW_VERSION} (${flavour}) is installed in ${root}`);
  } else {
    say(`TensorFlow ${TENSORFLOW_VERSION} (${flavour}): ${fault}; installing to ${root}`);
    await requireTools(signal);
    await installInCache({
      cacheDir,
      name: homeName(flavour),
      fault: () => faultOfInstall(cacheDir, flavour),
      make: (draft) => make(draft, flavour, signal),
    });
  }
  if (await tryOut(cacheDir, flavour, signal)) return;
  await rebuild(cacheDir, flavour, signal);
  if (!(await tryOut(cacheDir, flavour, signal)))
    throw new Error('The binding loses strings, though it was built anew.');
}

async function make(
  draft: string,
  flavour: Flavour,
  signal: AbortSignal,
): Promise<Omit<NativeManifest, 'files'>> {
  const { downloadMb, diskGb } = SIZES[flavour];
  const folder = join(draft, 'wheels');
  const wheels = await step(
    `fetching ${downloadMb} MB with pip (needs ${diskGb} GB of disk for now)`,
    () => fetchWheels(wheelsOf(flavour), folder, signal),
    (files) => `${files.length} wheel(s), ${megabytes(files)} MB, sha256 as pinned`,
  );
  await step('unpacking the libraries', async () => {
    for (const wheel of wheels) {
      await unpackWheel(wheel, draft, signal);
      rmSync(wheel); // one at a time, so that the disk need not hold both of all
    }
  });
  rmSync(folder, { recursive: true });
  const { libraries } = homeAt(draft);
  const shared = readdirSync(libraries).filter((name) => name.startsWith('libtensorflow'));
  const paths = shared.map((name) => join(libraries, name));
  await step(
    `stripping ${megabytes(paths)} MB of libraries`,
    // Their tables of symbols serve debuggers only, and are a quarter of them.
    () => runCommand('strip', ['--strip-unneeded', ...paths], { signal }),
    () => `${megabytes(paths)} MB are left`,
  );
  await step('building the binding of tfjs-node-gpu with g++', () => buildBinding(draft, signal));
  return { tensorflow: TENSORFLOW_VERSION, binding: bindingVersion() };
}

/** The binding of an install of old had a fault. Only the size of its file changes. */
async function rebuild(cacheDir: string, flavour: Flavour, signal: AbortSignal): Promise<void> {
  await requireTools(signal);
  const { root, binding, manifest: record } = nativeHome(cacheDir, flavour);
  await step('building the binding anew, for tensors of strings', () => buildBinding(root, signal));
  const { files, ...about } = JSON.parse(readFileSync(record, 'utf8')) as NativeManifest;
  const sizes = { ...files, [relative(root, binding)]: statSync(binding).size };
  const draft = `${record}.${randomUUID()}`;
  writeFileSync(draft, `${JSON.stringify({ ...about, files: sizes }, null, 2)}\n`);
  renameSync(draft, record);
}

/** Runs a model; resolves with whether the binding keeps strings. */
async function tryOut(cacheDir: string, flavour: Flavour, signal: AbortSignal): Promise<boolean> {
  const { result, complaints } = await step(
    'running a model',
    () => probe(cacheDir, flavour, signal),
    ({ result }) =>
      `TensorFlow ${result.tensorflow}, tfjs ${result.tfjs}: computed ${result.computed}, expected ${result.expected} ` +
      `(loaded in ${result.loadMs} ms, ran in ${result.runMs} ms)`,
  );
  if (result.strings) report(result.gpu, flavour, complaints);
  return result.strings;
}

function report(usesGpu: boolean, flavour: Flavour, complaints: readonly string[]): void {
  if (usesGpu) say('A GPU is in use.');
  else if (flavour === 'cpu') say('Runs on the CPU: backend `native`.');
  else {
    say(
      'No GPU is in use: it computed on the CPU, and the backend `cuda` will refuse to start. TensorFlow said:',
    );
    for (const line of complaints.length > 0 ? complaints : ['(nothing)']) say(`  ${line}`);
  }
}
