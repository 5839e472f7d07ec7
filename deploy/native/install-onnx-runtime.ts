/**
 * Brings ONNX Runtime: two npm packages, of which the library of this platform is kept.
 *
 * npm fetches them with the proxies, mirrors and credentials that it is configured with, so no host is named here. Each is
 * pinned by its sha512, and none of its scripts runs; the one of onnxruntime-node would only fetch CUDA's libraries.
 */
import { createHash } from 'node:crypto';
import { createReadStream, existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { extract } from 'tar';
import { ConfigError } from '../../shared/base/config.js';
import {
  faultOfOnnxRuntime,
  loadOnnxRuntime,
  ONNX_RUNTIME_VERSION,
  onnxRuntimeName,
} from '../../shared/native/onnx-runtime.js';
import { runCommand } from '../run-command.js';
import { installInCache, megabytes, say, step } from './cached-install.js';
import { requireGlibc } from './tools.js';

interface Package {
  name: string;
  /** Subresource integrity, as npm and its lock files write it. */
  integrity: string;
}

const BINDING: Package = {
  name: 'onnxruntime-node',
  integrity:
    'sha512-twhs1C2C/BFkz1yc5OY0KIU2GUq6DURO7hD4bx5Q2Qy3nAMJwRXW8xU3NVczE29VA9lolLOYepoD8fjTGOfIqw==',
};
const COMMON: Package = {
  name: 'onnxruntime-common',
  integrity:
    'sha512-7fdVWjAID1dVhH/G8qK3APARunV4VkBFoCQAP7qp4Wkab0mrorvmc+sqiT+mKXOzDqdjN5j+/Z9nb4gzNPWcyA==',
};
const DOWNLOAD_MB = 114;
/** The folder of the package that holds the libraries, one for each platform. */
const LIBRARIES = 'package/bin/';
const OWN_LIBRARY = `${LIBRARIES}napi-v6/${process.platform}/${process.arch}/`;

/** Installs ONNX Runtime unless it is installed, and loads it. */
export async function installOnnxRuntime(cacheDir: string, signal: AbortSignal): Promise<void> {
  const root = join(cacheDir, onnxRuntimeName());
  const fault = faultOfOnnxRuntime(cacheDir);
  if (fault === null) say(`ONNX Runtime ${ONNX_RUNTIME_VERSION} is installed in ${root}`);
  else {
    say(`ONNX Runtime ${ONNX_RUNTIME_VERSION}: ${fault}; installing to ${root}`);
    requireGlibc('ONNX Runtime');
    await installInCache({
      cacheDir,
      name: onnxRuntimeName(),
      fault: () => faultOfOnnxRuntime(cacheDir),
      make: (draft) => make(draft, signal),
    });
  }
  const { env } = loadOnnxRuntime(cacheDir);
  say(`ONNX Runtime ${env.versions.node} loads. Runs on the CPU: backend \`onnx\`.`);
}

async function make(draft: string, signal: AbortSignal): Promise<object> {
  const folder = join(draft, 'packages');
  mkdirSync(folder);
  await step(
    `fetching ${DOWNLOAD_MB} MB with npm`,
    () => fetchPackages(folder, signal),
    (files) => `${files.length} packages, ${megabytes(files)} MB, sha512 as pinned`,
  );
  await step('unpacking the library of this platform', async () => {
    for (const each of [BINDING, COMMON]) await unpack(archiveOf(folder, each), draft, each);
  });
  rmSync(folder, { recursive: true });
  if (!existsSync(join(draft, 'node_modules', BINDING.name, OWN_LIBRARY.replace('package/', ''))))
    throw new ConfigError(`ONNX Runtime is not made for ${process.platform} ${process.arch}.`);
  return {};
}

async function fetchPackages(folder: string, signal: AbortSignal): Promise<string[]> {
  const specs = [BINDING, COMMON].map(({ name }) => `${name}@${ONNX_RUNTIME_VERSION}`);
  await runCommand('npm', ['pack', ...specs, '--ignore-scripts', '--silent', '--pack-destination', folder], {
    signal,
  });
  for (const each of [BINDING, COMMON]) await demandIntegrity(archiveOf(folder, each), each);
  return readdirSync(folder).map((name) => join(folder, name));
}

function archiveOf(folder: string, { name }: Package): string {
  return join(folder, `${name}-${ONNX_RUNTIME_VERSION}.tgz`);
}

async function demandIntegrity(archive: string, { name, integrity }: Package): Promise<void> {
  const hash = createHash('sha512');
  await pipeline(createReadStream(archive), hash);
  const found = `sha512-${hash.digest('base64')}`;
  if (found !== integrity)
    throw new Error(`${name} ${ONNX_RUNTIME_VERSION} is another file than the pinned one: ${found}`);
}

/** Unpacks a package to the place where Node looks for it, without the libraries of other platforms. */
async function unpack(archive: string, draft: string, { name }: Package): Promise<void> {
  const cwd = join(draft, 'node_modules', name);
  mkdirSync(cwd, { recursive: true });
  const isKept = (path: string) => !path.startsWith(LIBRARIES) || path.startsWith(OWN_LIBRARY);
  await extract({ file: archive, cwd, strip: 1, filter: isKept });
}
