/**
 * Payloads: where a job's input and output lie. Small ones stand in its record, larger ones are blobs that it names.
 *
 *   jobs/<id>/input              written before the record that names it
 *   jobs/<id>/output-<token>     written before the end that names it; void executions write their own
 *
 * A process that dies in between leaves a blob without an owner; the sweep removes those that are older than an hour.
 */
import type { BlobStore } from '../../blobs/blobs.js';
import type { JobEnd, JobSpec } from '../../contract/job.js';
import type { JobResults } from './job-results.js';

/** Beyond this many bytes a payload is a blob. */
export const MAX_INLINE_BYTES = 32 * 1024;
export const PAYLOADS_FOLDER = 'jobs/';

/** What stands in the record, and the blob beside it; one of the two. */
export interface Stored {
  inline: Buffer;
  blob: string | null;
}

export type Payloads = ReturnType<typeof createPayloads>;

export function createPayloads(blobs: BlobStore, results: JobResults) {
  async function store(key: string, bytes: Buffer): Promise<Stored> {
    if (bytes.length <= MAX_INLINE_BYTES) return { inline: bytes, blob: null };
    await blobs.put(key, bytes);
    return { inline: EMPTY, blob: key };
  }

  return {
    storeInput: (id: string, bytes: Buffer) => store(`${PAYLOADS_FOLDER}${id}/input`, bytes),
    storeOutput: (id: string, token: string, bytes: Buffer) =>
      store(`${PAYLOADS_FOLDER}${id}/output-${token}`, bytes),

    /** The bytes, null when they are gone. */
    load: ({ inline, blob }: Stored): Promise<Buffer | null> =>
      blob === null ? Promise.resolve(inline) : blobs.get(blob),

    /** Of a job that is forgotten. What cannot be deleted now is left to the sweep. */
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
