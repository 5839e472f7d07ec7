/**
 * Uploads of versions that a test has made.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Manifest } from '../../shared/contract/models/manifest.js';
import type { Answer, Stack } from './stack.js';

export interface MadeVersion {
  folder: string;
  /** Its fields are the model.yaml of the upload; `files` names what is uploaded besides. */
  manifest: Partial<Manifest> & Pick<Manifest, 'files'>;
}

export interface UploadOptions {
  /** The number that the version asks for; by default the API gives one. */
  version?: number;
  /** White space that is added to model.json, so that the files are others. */
  change?: string;
}

/** Uploads a version and resolves with the answer. */
export async function uploadVersion(
  { url, key }: Pick<Stack, 'url' | 'key'>,
  model: string,
  { folder, manifest }: MadeVersion,
  { version: wanted, change = '' }: UploadOptions = {},
): Promise<Answer> {
  const { name: _, version: __, files, ...described } = manifest;
  const form = new FormData();
  form.append('file', new Blob([JSON.stringify({ ...described, version: wanted })]), 'model.yaml');
  for (const path of Object.keys(files)) {
    const bytes = new Uint8Array(readFileSync(join(folder, path)));
    form.append('file', new Blob(path === 'model.json' ? [bytes, change] : [bytes]), path);
  }
  const headers = { authorization: `Bearer ${key}` };
  const response = await fetch(`${url}/v1/models/${model}/versions`, { method: 'POST', headers, body: form });
  return { status: response.status, headers: response.headers, body: await response.json() };
}
