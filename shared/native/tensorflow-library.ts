/**
 * The TensorFlow C library and tfjs-node-gpu's binding to it: where they lie, whether they are complete, and how
 * a process loads them.
 *
 * `deploy/native` fills the folder, and a worker's child loads from it. The layout is that of a Python environment, because
 * the libraries look for each other relative to themselves (`$ORIGIN/../nvidia/cublas/lib`):
 *
 *   <libraries>/tensorflow-<flavour>-<version>/tensorflow/   libtensorflow_cc.so.2, libtensorflow_framework.so.2,
 *                                                            tfjs_binding.node, include/ (what the binding was built with)
 *                                             /nvidia/       CUDA's libraries (`cuda` only)
 *                                             /installed.json  written last: what must be there
 *
 * This module writes nothing, neither beside the libraries nor to node_modules, so loading works from a read-only disk and in any
 * number of processes at once.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import Module, { createRequire } from 'node:module';
import { delimiter, join } from 'node:path';
import { ConfigError, inheritedEnvironment } from '../base/config.js';
import { messageOf } from '../base/errors.js';
import { type FileSizes, faultOfFiles, RECORD_FILE } from './installed-files.js';

export const FLAVOURS = ['cpu', 'cuda'] as const;
/** `cpu`: the small library, CPU only. `cuda`: the one with CUDA kernels, which can also serve on the CPU. */
export type Flavour = (typeof FLAVOURS)[number];

export const TENSORFLOW_VERSION = '2.21.0';

export type Tensorflow = typeof import('@tensorflow/tfjs-node-gpu');

export interface NativeHome {
  /** The folder that holds all of it. */
  root: string;
  /** The two libraries, and the binding beside them. */
  libraries: string;
  include: string;
  binding: string;
  manifest: string;
}

/** The record that an install writes last. An install whose record differs or whose files are missing does not count. */
export interface NativeManifest {
  tensorflow: string;
  /** The version of tfjs-node-gpu whose binding was built. Its JavaScript and its binding must have the same version. */
  binding: string;
  files: FileSizes;
}

/** Returns the name of a flavour's folder among the libraries. */
export function homeName(flavour: Flavour): string {
  return `tensorflow-${flavour}-${TENSORFLOW_VERSION}`;
}

/** Returns the paths of a flavour's install, whether it exists or not. */
export function nativeHome(librariesDir: string, flavour: Flavour): NativeHome {
  return homeAt(join(librariesDir, homeName(flavour)));
}

/** Returns the paths of the install whose folder is `root`. */
export function homeAt(root: string): NativeHome {
  const libraries = join(root, 'tensorflow');
  return {
    root,
    libraries,
    include: join(libraries, 'include'),
    binding: join(libraries, 'tfjs_binding.node'),
    manifest: join(root, RECORD_FILE),
  };
}

/** Returns why this flavour cannot be loaded, or null when it can. */
export function faultOfInstall(librariesDir: string, flavour: Flavour): string | null {
  const home = nativeHome(librariesDir, flavour);
  if (!existsSync(home.manifest)) return 'it is not installed';
  try {
    const manifest = JSON.parse(readFileSync(home.manifest, 'utf8')) as NativeManifest;
    if (manifest.binding !== bindingVersion())
      return `it was built for tfjs-node-gpu ${manifest.binding}, not ${bindingVersion()}`;
    return faultOfFiles(home.root, manifest.files);
  } catch (error) {
    return `${home.manifest} cannot be read: ${messageOf(error)}`;
  }
}

/** True when `faultOfInstall` finds no fault. */
export function isInstalled(librariesDir: string, flavour: Flavour): boolean {
  return faultOfInstall(librariesDir, flavour) === null;
}

/** Returns the version of the tfjs-node-gpu that this process would load. */
export function bindingVersion(): string {
  const about = createRequire(import.meta.url)('@tensorflow/tfjs-node-gpu/package.json') as {
    version: string;
  };
  return about.version;
}

/**
 * Returns the variables that a process needs *before it starts*: the dynamic linker reads LD_LIBRARY_PATH once, so the parent
 * that forks the process must set them. Values that the operator has set are kept; in LD_LIBRARY_PATH they follow ours.
 */
export function nativeEnvironment(librariesDir: string, flavour: Flavour): Record<string, string> {
  const given = inheritedEnvironment({});
  const environment: Record<string, string> = {
    TF_CPP_MIN_LOG_LEVEL: given.TF_CPP_MIN_LOG_LEVEL ?? '2',
    // Without it TensorFlow takes all the memory of the GPU at its first operation.
    TF_FORCE_GPU_ALLOW_GROWTH: given.TF_FORCE_GPU_ALLOW_GROWTH ?? 'true',
  };
  const folders = cudaFolders(nativeHome(librariesDir, flavour).root);
  if (folders.length > 0)
    environment.LD_LIBRARY_PATH = [...folders, given.LD_LIBRARY_PATH ?? ''].filter(Boolean).join(delimiter);
  return environment;
}

function cudaFolders(root: string): string[] {
  const nvidia = join(root, 'nvidia');
  if (!existsSync(nvidia)) return [];
  return readdirSync(nvidia)
    .map((part) => join(nvidia, part, 'lib'))
    .filter((folder) => existsSync(folder));
}

let loaded: { root: string; tensorflow: Tensorflow } | undefined;

/**
 * Loads tfjs-node-gpu on the library. A process can hold one library: a second call for the same flavour returns
 * the same module.
 * @throws {Error} for the other flavour.
 * @throws {ConfigError} when the install has a fault.
 */
export function loadTensorflow(librariesDir: string, flavour: Flavour): Tensorflow {
  const home = nativeHome(librariesDir, flavour);
  if (loaded?.root === home.root) return loaded.tensorflow;
  if (loaded) throw new Error(`This process has loaded ${loaded.root}; it cannot load ${home.root} too.`);
  const fault = faultOfInstall(librariesDir, flavour);
  if (fault)
    throw new ConfigError(
      `TensorFlow (${flavour}) cannot be loaded from ${home.root}: ${fault}. Run: npm run backend:install -- ${flavour}`,
    );
  loaded = { root: home.root, tensorflow: requireWith(home.binding) };
  return loaded.tensorflow;
}

/**
 * tfjs-node-gpu asks `@mapbox/node-pre-gyp` one question, where its binding lies, and would only look inside its own
 * package, which `npm ci` empties. Our module therefore stands in for it while tfjs-node-gpu is being required.
 */
function requireWith(binding: string): Tensorflow {
  const require = createRequire(import.meta.url);
  // tfjs-node-gpu 4.22 calls both; Node 22 warns of them and Node 23 has them no more.
  const util = require('node:util') as Record<string, (value: unknown) => boolean>;
  util.isNullOrUndefined = (value) => value === null || value === undefined;
  util.isArray = Array.isArray;

  const packageMain = require.resolve('@tensorflow/tfjs-node-gpu');
  const finder = createRequire(packageMain).resolve('@mapbox/node-pre-gyp');
  const original = require.cache[finder];
  const answer = new Module(finder);
  answer.exports = { find: () => binding };
  answer.loaded = true;
  require.cache[finder] = answer;
  try {
    return require(packageMain) as Tensorflow;
  } finally {
    if (original) require.cache[finder] = original;
    else delete require.cache[finder];
  }
}

/** Returns the lines of `stderr` in which TensorFlow says why it uses no GPU. The process must have run with TF_CPP_MIN_LOG_LEVEL=0. */
export function gpuComplaints(stderr: string): string[] {
  const told = stderr
    .split('\n')
    .filter((line) => /cuda|cudnn|gpu|dlopen|nvidia|lib\w+\.so/i.test(line))
    .filter((line) => /could not|cannot|can't|failed|unable|not found|skipping|mismatch/i.test(line))
    // "E0000 00:00:1795479632.313674    9574 cuda_platform.cc:52] text" -> "text"
    .map((line) => line.replace(/^[IWEF]\d{4} \S+ +\d+ \S+\] /, '').trim());
  return [...new Set(told)];
}
