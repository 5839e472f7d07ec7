/**
 * Job results: what a job's view shows of its output. Predictions whose JSON is too large for a response become a file when
 * they are first looked at. The file's id follows from the job's id, so that all processes make the same file.
 */
import type { JobRecord } from '../../contract/job.js';
import type { Predictions } from '../../contract/job-view.js';
import { presentPredictions } from '../../contract/tensors/prediction.js';
import type { Files } from '../files/files.js';

/** The most JSON of predictions that a job's view holds itself. */
export const MAX_INLINE_RESULT_BYTES = 256 * 1024;
/** Written as JSON, numbers take at most so many times their packed size. */
const GROWTH = 7;

export type JobResults = ReturnType<typeof createJobResults>;

/** Returns the presenter of predictions. */
export function createJobResults(files: Files) {
  /**
   * Returns the predictions of a job from its packed output, or the address of their file; null without output.
   * @param mayInline is false for predictions that are to be a file however small they are.
   */
  async function present(
    { spec, deletedAfter }: JobRecord,
    output: Buffer | null,
    mayInline = true,
  ): Promise<Predictions | null> {
    if (!output) return null;
    const id = resultFileId(spec.id);
    const isSmall = mayInline && !mayBeLarge(output);
    const known = isSmall ? null : await files.get(spec.tenant, id);
    if (known) return { file: id, url: await files.urlOf(known) };
    const predictions = presentPredictions(output);
    if (isSmall) return predictions;
    const content = Buffer.from(JSON.stringify(predictions));
    if (mayInline && content.length <= MAX_INLINE_RESULT_BYTES) return predictions;
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

  /** Removes the file of a job that is forgotten. */
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
