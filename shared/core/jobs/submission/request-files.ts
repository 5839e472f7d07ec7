/**
 * The files that the jobs of one request may name. A file is read once, and counts for every instance that it is used in.
 */
import { type FindFile, NO_SUCH_FILE } from '../../../contract/tensors/input-value.js';
import type { Files } from '../../files/files.js';

/**
 * Returns the function with which the input encoder finds the files of a tenant.
 * @param maxBytes bounds the bytes of all files together, each as often as it is named.
 */
export function openRequestFiles(files: Files, tenant: string, maxBytes: number): FindFile {
  const found = new Map<string, ReturnType<Files['get']>>();
  const contents = new Map<string, ReturnType<Files['read']>>();
  let bytes = 0;
  return async (id) => {
    const record = await once(found, id, () => files.get(tenant, id));
    if (!record) return NO_SUCH_FILE;
    if (bytes + record.bytes > maxBytes)
      return `the files that a request names may hold ${maxBytes} bytes together`;
    bytes += record.bytes;
    return { bytes: record.bytes, read: () => once(contents, id, () => files.read(record)) };
  };
}

function once<V>(made: Map<string, V>, key: string, make: () => V): V {
  const value = made.get(key) ?? make();
  made.set(key, value);
  return value;
}
