/**
 * tfjs for the scripts of this folder: the choice of the backend, and the place of an npm package.
 *
 * Training and measuring run on `wasm`, which is fast. Golden vectors are computed on `cpu`, which is plain JavaScript and
 * the reference that every other backend is compared with.
 */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { enableProdMode, ready, setBackend } from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import '@tensorflow/tfjs-backend-wasm';

/** Makes tfjs compute on `backend`; rejects when it does not start. */
export async function computeOn(backend: 'cpu' | 'wasm'): Promise<void> {
  // Without this, the backend `cpu` prints an advertisement.
  enableProdMode();
  if (!(await setBackend(backend))) throw new Error(`the tfjs backend ${backend} does not start`);
  await ready();
}

/** Returns the folder of an installed package, even when its `exports` hide its files. */
export function packageFolder(name: string): string {
  const candidates = createRequire(import.meta.url).resolve.paths(name) ?? [];
  const found = candidates.map((path) => join(path, name)).find((path) => existsSync(path));
  if (!found) throw new Error(`the package ${name} is not installed: run npm ci`);
  return found;
}
