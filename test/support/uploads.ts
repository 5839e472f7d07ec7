/**
 * Uploads of versions, as clients send them.
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

type Uploader = Pick<Stack, 'url' | 'key'>;

/** Sends the parts of an upload and resolves with the answer. */
export async function postVersion(
  { url, key }: Uploader,
  model: string,
  parts: FormData,
  query = '',
): Promise<Answer> {
  const response = await fetch(`${url}/v1/models/${model}/versions${query}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}` },
    body: parts,
  });
  return { status: response.status, headers: response.headers, body: await response.json() };
}

/** Returns the parts for some files, by their paths. */
export function partsOf(files: Iterable<readonly [path: string, content: string | Uint8Array]>): FormData {
  const form = new FormData();
  for (const [path, content] of files)
    form.append('file', new Blob([typeof content === 'string' ? content : Uint8Array.from(content)]), path);
  return form;
}

/** Uploads a version that a test has made, and resolves with the answer. */
export function uploadVersion(
  uploader: Uploader,
  model: string,
  { folder, manifest }: MadeVersion,
  { version: wanted, change = '' }: UploadOptions = {},
): Promise<Answer> {
  const { name: _, version: __, files, ...described } = manifest;
  const contentOf = (path: string) => {
    const bytes = readFileSync(join(folder, path));
    return path === 'model.json' ? Buffer.concat([bytes, Buffer.from(change)]) : bytes;
  };
  const parts = partsOf([
    ['model.yaml', JSON.stringify({ ...described, version: wanted })],
    ...Object.keys(files).map((path) => [path, contentOf(path)] as const),
  ]);
  return postVersion(uploader, model, parts);
}
