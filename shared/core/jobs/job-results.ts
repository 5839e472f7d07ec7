/**
 * Results: what a job's view shows of its output. One whose JSON is too large for an answer is a file, which is made when
 * somebody first looks at it: its id follows from the job's, so that all processes make the same one.
 */
import type { JobRecord, Predictions } from '../../contract/job.js';
import { presentPredictions } from '../../contract/tensors/prediction.js';
import type { Files } from '../files/files.js';

/** JSON of predictions that is shown in a job. */
export const MAX_INLINE_RESULT_BYTES = 256 * 1024;
/** Numbers grow to at most so many times their size when they are written as JSON. */
const GROWTH = 7;

export type JobResults = ReturnType<typeof createJobResults>;

export function createJobResults(files: Files) {
  /** `output` as it was packed; null while there is none. */
  async function present(
    { spec, deletedAfter }: JobRecord,
    output: Buffer | null,
  ): Promise<Predictions | null> {
    if (!output) return null;
    const id = resultFileId(spec.id);
    const known = mayBeLarge(output) ? await files.get(spec.tenant, id) : null;
    if (known) return { file: id, url: await files.urlOf(known) };
    const predictions = presentPredictions(output);
    if (!mayBeLarge(output)) return predictions;
    const content = Buffer.from(JSON.stringify(predictions));
    if (content.length <= MAX_INLINE_RESULT_BYTES) return predictions;
    const record = await files.keep({
      id,
      tenant: spec.tenant,
      contentType: 'application/json',
      filename: `${spec.id}.json`,
      content,
      expiresAt: deletedAfter ?? Number.MAX_SAFE_INTEGER,
    });
    return { file: id, url: await files.urlOf(record) };
  }

  /** With the job that it is of. */
  async function drop(tenant: string, job: string): Promise<void> {
    await files.remove(tenant, resultFileId(job));
  }

  return { present, drop };
}

function mayBeLarge(output: Buffer): boolean {
  return output.length * GROWTH > MAX_INLINE_RESULT_BYTES;
}

function resultFileId(job: string): string {
  return job.replace(/^job_/, 'file_');
}
