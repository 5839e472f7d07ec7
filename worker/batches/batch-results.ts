/**
 * Stores the results of a batch as JSON lines in the order of the input.
 *
 * Each chunk of lines becomes a part: one blob of lines with predictions and one of lines without. When the batch ends, the
 * parts are joined into an output file and an error file.
 */
import type { BlobStore } from '../../shared/blobs/blobs.js';
import type { BatchRecord, BatchSpec, LineFailure } from '../../shared/contract/batch.js';
import { type ErrorCode, presentError, SluiceError } from '../../shared/contract/errors.js';
import type { TerminalStatus } from '../../shared/contract/job.js';
import { presentPredictions } from '../../shared/contract/tensors/prediction.js';
import { type BatchPart, partKey, type ResultKind } from '../../shared/core/batches/batch-record.js';
import type { Files } from '../../shared/core/files/files.js';
import type { Jobs } from '../../shared/core/jobs/jobs.js';
import { readJsonLines } from './json-lines.js';

export interface BatchResultsDeps {
  jobs: Jobs;
  files: Files;
  blobs: BlobStore;
}

/** The result of one line, without its predictions. */
export interface LineResult {
  line: number;
  customId: string | null;
  /** The id of the line's job; null when no job was made. */
  job: string | null;
  status: TerminalStatus;
  /** The error as the error file shows it; null for a job that succeeded. */
  error: { code: ErrorCode; message: string } | null;
}

const CONTENT_TYPE = 'application/x-ndjson';
/** The number of results that are read at once. */
const READ_AHEAD = 16;
const GONE = presentError(new SluiceError('not_found', 'The job of this line is no longer kept.'));

export type BatchResults = ReturnType<typeof createBatchResults>;

/**
 * Writes, joins and deletes the parts of a batch's results.
 *
 * @throws {SluiceError} `unavailable` from every function when the blob store fails
 */
export function createBatchResults({ jobs, files, blobs }: BatchResultsDeps) {
  /** Writes the blobs of a part. A result whose predictions are no longer kept becomes `failed`. */
  async function writePart(
    spec: BatchSpec,
    index: number,
    token: string,
    lineResults: LineResult[],
  ): Promise<BatchPart> {
    const succeeded = lineResults.filter(({ status }) => status === 'succeeded');
    const output =
      succeeded.length > 0 && (await writeOutput(partKey(spec.id, index, token, 'output'), spec, succeeded));
    const rest = lineResults.filter(({ status }) => status !== 'succeeded');
    const text = rest.map((lineResult) => `${JSON.stringify(lineResult)}\n`).join('');
    if (rest.length > 0)
      await blobs.put(partKey(spec.id, index, token, 'errors'), Buffer.from(text), {
        contentType: CONTENT_TYPE,
      });
    const failure = firstFailureOf(rest);
    const lastLine = lineResults.at(-1)?.line ?? 0;
    return { token, lastLine, output, errors: rest.length > 0, ...(failure && { failure }) };
  }

  /** Returns false when no line has predictions any more. */
  async function writeOutput(key: string, spec: BatchSpec, lineResults: LineResult[]): Promise<boolean> {
    await blobs.put(key, outputLines(spec, lineResults), { contentType: CONTENT_TYPE });
    return lineResults.some(({ status }) => status === 'succeeded');
  }

  async function* outputLines(spec: BatchSpec, lineResults: LineResult[]): AsyncGenerator<Buffer> {
    for (let start = 0; start < lineResults.length; start += READ_AHEAD) {
      const group = lineResults.slice(start, start + READ_AHEAD);
      const found = await Promise.all(group.map(({ job }) => jobs.getWithOutput(spec.tenant, job ?? '')));
      for (const [i, lineResult] of group.entries()) {
        const { record, output } = found[i] ?? {};
        if (!record || !output) {
          lineResult.status = 'failed';
          lineResult.error = GONE;
          continue;
        }
        const { line, customId, job } = lineResult;
        const error = record.end?.error ? { error: record.end.error } : {};
        const written = { line, customId, job, predictions: presentPredictions(output), ...error };
        yield Buffer.from(`${JSON.stringify(written)}\n`);
      }
    }
  }

  /**
   * Joins all parts into the two files and tells which of them exist. It is idempotent. `expiresAt` is in milliseconds since
   * the Unix epoch.
   *
   * @throws {SluiceError} `not_found` when a part is no longer stored
   */
  async function publish(
    spec: BatchSpec,
    parts: readonly BatchPart[],
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

  async function* joined(
    spec: BatchSpec,
    parts: readonly BatchPart[],
    kind: ResultKind,
  ): AsyncGenerator<Buffer> {
    for (const [index, part] of parts.entries()) {
      if (!part[kind]) continue;
      const blob = await blobs.open(partKey(spec.id, index, part.token, kind));
      if (!blob)
        throw new SluiceError('not_found', `Results up to line ${part.lastLine} are no longer stored.`);
      yield* blob.stream;
    }
  }

  /** Yields the ids of the jobs whose results a part holds. */
  async function* jobsOf(spec: BatchSpec, index: number, part: BatchPart): AsyncGenerator<string> {
    for (const kind of ['output', 'errors'] as const) {
      const blob = part[kind] && (await blobs.open(partKey(spec.id, index, part.token, kind)));
      if (!blob) continue;
      for await (const { bytes } of readJsonLines(blob.stream, Number.POSITIVE_INFINITY)) {
        const { job }: LineResult = JSON.parse(String(bytes));
        if (job) yield job;
      }
    }
  }

  /** Deletes the blobs of a part. The sweep deletes a blob that cannot be deleted now. */
  async function dropPart(spec: BatchSpec, index: number, { token }: BatchPart): Promise<void> {
    for (const kind of ['output', 'errors'] as const)
      await blobs.delete(partKey(spec.id, index, token, kind)).catch(() => undefined);
  }

  return { writePart, publish, jobsOf, dropPart };
}

function firstFailureOf(lineResults: readonly LineResult[]): LineFailure | undefined {
  const first = lineResults.find(({ status }) => status === 'failed');
  if (!first?.error) return undefined;
  const { line, customId, error } = first;
  return { line, customId, code: error.code, message: error.message };
}
