/**
 * Results of a batch, as JSON lines in the order of the input: first a part for each chunk, at the end one file of all
 * that has predictions and one of all that has none.
 */

import type { BlobStore } from '../../shared/blobs/blobs.js';
import type { BatchRecord, BatchSpec } from '../../shared/contract/batch.js';
import { presentError, SluiceError } from '../../shared/contract/errors.js';
import type { TerminalStatus } from '../../shared/contract/job.js';
import { presentPredictions } from '../../shared/contract/tensors/prediction.js';
import { type Part, partKey, type ResultKind } from '../../shared/core/batches/batches.js';
import type { Files } from '../../shared/core/files/files.js';
import type { Jobs } from '../../shared/core/jobs/jobs.js';
import { readLines } from './json-lines.js';

export interface ResultsDeps {
  jobs: Jobs;
  files: Files;
  blobs: BlobStore;
}

/** What became of a line. */
export interface Outcome {
  line: number;
  customId: string | null;
  /** Null for a line of which no job was made. */
  job: string | null;
  status: TerminalStatus;
  /** As it is written; null for a job that succeeded. */
  error: object | null;
}

const CONTENT_TYPE = 'application/x-ndjson';
/** Results read ahead. */
const READ_AHEAD = 16;
const GONE = presentError(new SluiceError('not_found', 'The job of this line is no longer kept.'));

export type BatchResults = ReturnType<typeof createBatchResults>;

export function createBatchResults({ jobs, files, blobs }: ResultsDeps) {
  /** Writes the blobs of a part. An outcome whose predictions are gone by now becomes a failed one. */
  async function writePart(
    spec: BatchSpec,
    index: number,
    token: string,
    outcomes: Outcome[],
  ): Promise<Part> {
    const succeeded = outcomes.filter(({ status }) => status === 'succeeded');
    const output =
      succeeded.length > 0 && (await writeOutput(partKey(spec.id, index, token, 'output'), spec, succeeded));
    const rest = outcomes.filter(({ status }) => status !== 'succeeded');
    const text = rest.map((outcome) => `${JSON.stringify(outcome)}\n`).join('');
    if (rest.length > 0)
      await blobs.put(partKey(spec.id, index, token, 'errors'), Buffer.from(text), {
        contentType: CONTENT_TYPE,
      });
    return { token, lastLine: outcomes.at(-1)?.line ?? 0, output, errors: rest.length > 0 };
  }

  /** False when there was nothing to write after all. */
  async function writeOutput(key: string, spec: BatchSpec, outcomes: Outcome[]): Promise<boolean> {
    await blobs.put(key, outputLines(spec, outcomes), { contentType: CONTENT_TYPE });
    return outcomes.some(({ status }) => status === 'succeeded');
  }

  async function* outputLines(spec: BatchSpec, outcomes: Outcome[]): AsyncGenerator<Buffer> {
    for (let start = 0; start < outcomes.length; start += READ_AHEAD) {
      const group = outcomes.slice(start, start + READ_AHEAD);
      const found = await Promise.all(group.map(({ job }) => jobs.getWithOutput(spec.tenant, job ?? '')));
      for (const [i, outcome] of group.entries()) {
        const { record, output } = found[i] ?? {};
        if (!record || !output) {
          outcome.status = 'failed';
          outcome.error = GONE;
          continue;
        }
        const { line, customId, job } = outcome;
        const error = record.end?.error ? { error: record.end.error } : {};
        const result = { line, customId, job, predictions: presentPredictions(output), ...error };
        yield Buffer.from(`${JSON.stringify(result)}\n`);
      }
    }
  }

  /** Makes the two files of all parts; doing so again makes the same ones. */
  async function publish(
    spec: BatchSpec,
    parts: readonly Part[],
    expiresAt: number,
  ): Promise<BatchRecord['files']> {
    const keep = async (kind: ResultKind, id: string) => {
      if (!parts.some((part) => part[kind])) return false;
      const filename = `${spec.id}.${kind}.jsonl`;
      const content = joined(spec, parts, kind);
      await files.keep({ id, tenant: spec.tenant, contentType: CONTENT_TYPE, filename, content, expiresAt });
      return true;
    };
    return { output: await keep('output', spec.outputFile), errors: await keep('errors', spec.errorFile) };
  }

  async function* joined(spec: BatchSpec, parts: readonly Part[], kind: ResultKind): AsyncGenerator<Buffer> {
    for (const [index, part] of parts.entries()) {
      if (!part[kind]) continue;
      const blob = await blobs.open(partKey(spec.id, index, part.token, kind));
      if (!blob)
        throw new SluiceError('not_found', `Results up to line ${part.lastLine} are no longer stored.`);
      yield* blob.stream;
    }
  }

  /** The jobs that a part has the results of. */
  async function* jobsOf(spec: BatchSpec, index: number, part: Part): AsyncGenerator<string> {
    for (const kind of ['output', 'errors'] as const) {
      const blob = part[kind] && (await blobs.open(partKey(spec.id, index, part.token, kind)));
      if (!blob) continue;
      for await (const { bytes } of readLines(blob.stream, Number.POSITIVE_INFINITY)) {
        const { job }: Outcome = JSON.parse(String(bytes));
        if (job) yield job;
      }
    }
  }

  /** What cannot be deleted now is left to the sweep. */
  async function dropPart(spec: BatchSpec, index: number, { token }: Part): Promise<void> {
    for (const kind of ['output', 'errors'] as const)
      await blobs.delete(partKey(spec.id, index, token, kind)).catch(() => undefined);
  }

  return { writePart, publish, jobsOf, dropPart };
}
