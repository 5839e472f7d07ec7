/**
 * tfjs for the scripts of this folder: which backend computes, and where an npm package lies.
 *
 * Training and measuring run on `wasm`, as it is fast; golden vectors are computed on `cpu`, as it is plain JavaScript
 * and serves as the reference that every other backend is compared with.
 */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { enableProdMode, ready, setBackend } from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import '@tensorflow/tfjs-backend-wasm';

export async function computeOn(backend: 'cpu' | 'wasm'): Promise<void> {
  // Otherwise the backend `cpu` prints an advertisement.
  enableProdMode();
  if (!(await setBackend(backend))) throw new Error(`the tfjs backend ${backend} does not start`);
  await ready();
}

/** The folder of an installed package, also of one whose `exports` hide its files. */
export function packageFolder(name: string): string {
  const candidates = createRequire(import.meta.url).resolve.paths(name) ?? [];
  const found = candidates.map((path) => join(path, name)).find((path) => existsSync(path));
  if (!found) throw new Error(`the package ${name} is not installed: run npm ci`);
  return found;
}
