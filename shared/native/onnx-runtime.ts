/**
 * ONNX Runtime among the libraries of backends: where it lies, whether it is complete, and how a process loads it.
 *
 * `deploy/native` fills the folder with two npm packages, of which it keeps the library of this platform alone:
 *
 *   <libraries>/onnxruntime-<platform>-<version>/node_modules/onnxruntime-node/     the binding and the library
 *                                                        /onnxruntime-common/   tensors and sessions
 *                                           /installed.json    written last: what must be there
 */
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { ConfigError } from '../base/config.js';
import { messageOf } from '../base/errors.js';
import { type FileSizes, faultOfFiles, RECORD_FILE } from './installed-files.js';

export type OnnxRuntime = typeof import('onnxruntime-common');

export const ONNX_RUNTIME_VERSION = '1.30.0';
/** The command that brings it. */
export const ONNX_RUNTIME_INSTALL = 'npm run backend:install -- onnx';

/** The record of an install. */
export interface OnnxRuntimeRecord {
  files: FileSizes;
}

/** Returns the name of its folder among the libraries, which machines of several kinds may share: `onnxruntime-linux-x64-1.30.0`. */
export function onnxRuntimeName(): string {
  return `onnxruntime-${process.platform}-${process.arch}-${ONNX_RUNTIME_VERSION}`;
}

/** Returns why ONNX Runtime cannot be loaded, or null when it can. */
export function faultOfOnnxRuntime(librariesDir: string): string | null {
  const root = join(librariesDir, onnxRuntimeName());
  const record = join(root, RECORD_FILE);
  if (!existsSync(record)) return 'it is not installed';
  try {
    return faultOfFiles(root, (JSON.parse(readFileSync(record, 'utf8')) as OnnxRuntimeRecord).files);
  } catch (error) {
    return `${record} cannot be read: ${messageOf(error)}`;
  }
}

/**
 * Loads ONNX Runtime.
 * @throws {ConfigError} with the command that installs it, when the install has a fault.
 */
export function loadOnnxRuntime(librariesDir: string): OnnxRuntime {
  const root = join(librariesDir, onnxRuntimeName());
  const fault = faultOfOnnxRuntime(librariesDir);
  if (fault)
    throw new ConfigError(
      `ONNX Runtime cannot be loaded from ${root}: ${fault}. Run: ${ONNX_RUNTIME_INSTALL}`,
    );
  const runtime = createRequire(join(root, RECORD_FILE))('onnxruntime-node') as OnnxRuntime;
  takeBitsForHalves(runtime);
  return runtime;
}

/**
 * ONNX Runtime 1.30 would hand the arrays of halves that Node 24 has to a binding that sees nothing in them. It looks for them
 * once, at its first tensor; where it finds none, halves are their bits, as on older Nodes.
 */
function takeBitsForHalves({ Tensor }: OnnxRuntime): void {
  const name = 'Float16Array';
  const own = Object.getOwnPropertyDescriptor(globalThis, name);
  if (!own) return;
  Reflect.deleteProperty(globalThis, name);
  try {
    new Tensor('uint8', [0], [1]).dispose();
  } finally {
    Object.defineProperty(globalThis, name, own);
  }
}
