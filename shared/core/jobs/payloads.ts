/**
 * Payloads: where a job's input and output lie. A small one stands in the record, a larger one is a blob that the record names.
 *
 *   jobs/<id>/input              written before the record that names it
 *   jobs/<id>/output-<token>     written before the end that names it; a void execution writes a blob of its own
 *
 * A process that dies in between leaves a blob without an owner, which the due index sweeps.
 */
import type { BlobStore } from '../../blobs/blobs.js';
import type { JobEnd, JobSpec } from '../../contract/job.js';
import type { JobResults } from './job-results.js';

/** A larger payload is a blob. */
export const MAX_INLINE_BYTES = 32 * 1024;
/** The folder of all payloads in the blob store. */
export const PAYLOADS_FOLDER = 'jobs/';

/** A payload: its bytes in the record, or, when `blob` is a key, in that blob. */
export interface StoredPayload {
  inline: Buffer;
  blob: string | null;
}

export type Payloads = ReturnType<typeof createPayloads>;

/** Returns the store of payloads. */
export function createPayloads(blobs: BlobStore, results: JobResults) {
  async function store(key: string, bytes: Buffer): Promise<StoredPayload> {
    if (bytes.length <= MAX_INLINE_BYTES) return { inline: bytes, blob: null };
    await blobs.put(key, bytes);
    return { inline: EMPTY, blob: key };
  }

  return {
    /** Stores the packed input of a job. */
    storeInput: (id: string, bytes: Buffer) => store(`${PAYLOADS_FOLDER}${id}/input`, bytes),
    /** Stores the packed predictions of one execution, named by its fencing token. */
    storeOutput: (id: string, token: string, bytes: Buffer) =>
      store(`${PAYLOADS_FOLDER}${id}/output-${token}`, bytes),

    /** Returns the bytes of a payload; null when they are gone. */
    load: ({ inline, blob }: StoredPayload): Promise<Buffer | null> =>
      blob === null ? Promise.resolve(inline) : blobs.get(blob),

    /** Deletes the blobs of a job that is forgotten. The sweep deletes what cannot be deleted now. */
    async drop(spec: JobSpec, end: JobEnd | null): Promise<void> {
      await discard(spec.inputBlob ?? null);
      if (!end?.outputBlob) return;
      await discard(end.outputBlob);
      await results.drop(spec.tenant, spec.id);
    },
    discard,
  };

  async function discard(blob: string | null): Promise<void> {
    if (blob !== null) await blobs.delete(blob).catch(() => undefined);
  }
}

const EMPTY = Buffer.alloc(0);

/** Returns the id of the job that a blob belongs to; `path` is its key without the folder. */
export function jobOfPayload(path: string): string {
  return path.split('/')[0] ?? '';
}
