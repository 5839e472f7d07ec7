/**
 * Submission: a body becomes a job. One function serves a single submit, each item of a bulk submit and each line of a batch.
 *
 *   check     the body by its schema, and the address of its webhook
 *   resolve   the model's name to a version: now and then to a canary, and to a shadow that is given a copy
 *   encode    the instances by the version's input signature, with the files that they name
 *   write     the record; predictions that were kept for an equal job end it at once (job-writer.ts)
 *   copy      the job for its shadow
 *
 * A job that is refused leaves nothing behind.
 */

import { LRUCache } from 'lru-cache';
import type { Clock } from '../../../base/clock.js';
import { invalid, SluiceError } from '../../../contract/errors.js';
import { newId } from '../../../contract/ids.js';
import {
  DEFAULT_TIMEOUT_SECONDS,
  DEFAULT_TTL_SECONDS,
  type JobSpec,
  type Submit,
  submitSchema,
} from '../../../contract/job.js';
import type { Manifest } from '../../../contract/models/manifest.js';
import { compileGuard } from '../../../contract/schema.js';
import { createInputEncoder, type InputEncoder } from '../../../contract/tensors/input.js';
import type { FindFile } from '../../../contract/tensors/input-value.js';
import { packInstances } from '../../../contract/tensors/tensor.js';
import { readImageHeader } from '../../../images/image.js';
import type { Files } from '../../files/files.js';
import type { Idempotency } from '../../idempotency.js';
import type { Version } from '../../models/model-record.js';
import type { Models } from '../../models/models.js';
import type { Resolved } from '../../models/resolve-version.js';
import { shadowCopy } from '../../models/shadows.js';
import type { Endpoints } from '../../webhooks/endpoints.js';
import type { Jobs } from '../jobs.js';
import { hashOfInput } from '../prediction-cache.js';
import type { JobWriter, NewJob, Submitted } from './job-writer.js';
import { openRequestFiles } from './request-files.js';
import { selectionOf, selectSignature } from './selection.js';

export interface SubmissionDeps {
  jobs: Jobs;
  jobWriter: JobWriter;
  models: Models;
  files: Files;
  endpoints: Pick<Endpoints, 'checkUrl'>;
  clock: Clock;
  /** The most instances of a job. */
  maxInstances: number;
  /** The most bytes of the files that a request names, each as often as it is named. */
  maxFileBytes: number;
  /** Hears of each job that was made, and not of one that an Idempotency-Key found. */
  onSubmitted: (record: Submitted['record']) => void;
}

export interface SubmitRequest {
  tenant: string;
  /** The body of POST /v1/jobs, unchecked; its numbers may stand in number grids. */
  body: unknown;
  idempotency?: Idempotency | undefined;
  /** The files of the request, where several of its jobs share them. */
  findFile?: FindFile;
  /** A line of a batch may use a version that was retired after the batch was accepted, and no endpoint is told of its job. */
  isLine?: boolean;
  /** The channel of the process that waits for the job's end (job-notices.ts). */
  awaitedBy?: string | undefined;
  /** Called with the job's id just before the job is written. A watch that begins here misses nothing. */
  onChecked?: (id: string) => void;
  /** Repeats a step that failed for a reason which passes; by default each step is tried once. */
  persist?: <T>(step: () => Promise<T>) => Promise<T>;
}

export type Submission = ReturnType<typeof createSubmission>;

/** The encoders that a process keeps; others are made again when they are needed. */
const MAX_ENCODERS = 1000;

const guardSubmit = compileGuard(submitSchema);

/** Returns what makes jobs of bodies. */
export function createSubmission(deps: SubmissionDeps) {
  const { jobs, jobWriter, models, files, endpoints, clock } = deps;
  const encoders = new LRUCache<string, InputEncoder>({ max: MAX_ENCODERS });

  /**
   * Makes the job of one body.
   * @throws {SluiceError} `unknown_field` or `invalid_input` for a body that is wrong, `model_not_found`, `model_failed`,
   *   `version_retired`, `url_not_allowed`, and what writing throws (job-writer.ts).
   */
  async function submit(request: SubmitRequest): Promise<Submitted> {
    const { idempotency, persist = (step) => step() } = request;
    const { job, shadow } = await persist(() => prepare(request));
    request.onChecked?.(job.spec.id);
    // The input is encoded once, however often its record has to be written.
    const submitted = await persist(() => write(job, idempotency));
    if (!submitted.replayed && shadow) copyFor(shadow, job);
    return submitted;
  }

  /** Returns the job that the record will hold, and the version that is to get a copy of it. */
  async function prepare(request: SubmitRequest): Promise<{ job: NewJob; shadow: Resolved['shadow'] }> {
    const { tenant, idempotency, isLine = false } = request;
    const body = guardSubmit(request.body);
    demandFewInstances(body);
    const resolved = await models.resolve(body.model, { mayDraw: true, isAccepted: isLine });
    demandOpen(resolved.version, isLine);
    if (body.webhook) endpoints.checkUrl(body.webhook.url, '/webhook/url');
    // A full queue is worth asking before the input is encoded, unless the job may be there already.
    if (!idempotency) jobWriter.demandRoom(tenant, resolved.version.manifest.name);
    const findFile = request.findFile ?? filesOf(tenant);
    const manifest = selectSignature(resolved.version.manifest, body);
    const encoder = encoderOf(manifest, resolved.version.sha256);
    const instances = await encoder.encode(body.instances, '/instances', findFile);
    const job = toJob(body, resolved, packInstances(instances), { tenant, isLine });
    job.awaitedBy = request.awaitedBy;
    return { job, shadow: resolved.shadow };
  }

  /**
   * Makes a new job of the same version with the input of one that has ended.
   * @throws {SluiceError} `not_found`, `job_not_finished`, `model_failed`, `version_retired`, and what writing throws.
   */
  async function retry(tenant: string, id: string, idempotency?: Idempotency): Promise<Submitted> {
    const { record, input } = await jobs.endedInput(tenant, id);
    const { model, version } = record.spec;
    await resolve(`${model}@${version}`);
    const spec = { ...record.spec, id: newId('job', clock.now()), retryOf: id };
    const ttlSeconds = Math.round((record.expiresAt - record.createdAt) / 1000);
    const { finishedAt, deletedAfter } = record;
    const retentionSeconds = Math.round((Number(deletedAfter) - Number(finishedAt)) / 1000);
    return write({ spec, ttlSeconds, retentionSeconds, input }, idempotency);
  }

  /**
   * Returns the version that all jobs of a batch will use.
   * @throws {SluiceError} `model_not_found`, `model_failed`, `version_retired`.
   */
  async function resolve(model: string): Promise<Resolved> {
    const resolved = await models.resolve(model);
    demandOpen(resolved.version, false);
    return resolved;
  }

  /** Returns the files of one request, for several of its jobs to share. */
  function filesOf(tenant: string): FindFile {
    return openRequestFiles(files, tenant, deps.maxFileBytes);
  }

  function demandFewInstances({ instances: { length } }: Submit): void {
    if (length <= deps.maxInstances) return;
    const message = `has ${length} instances, at most ${deps.maxInstances} are taken`;
    throw invalid([{ path: '/instances', message }]);
  }

  /** Returns the encoder of a signature; each is made when it is first used. */
  function encoderOf(manifest: Manifest, sha256: string): InputEncoder {
    const { name, version, signatureName = '' } = manifest;
    const key = `${name}@${version}:${sha256}:${signatureName}`;
    const encoder = encoders.get(key) ?? createInputEncoder(manifest, readImageHeader);
    encoders.set(key, encoder);
    return encoder;
  }

  function toJob(
    body: Submit,
    { version: { manifest }, alias }: Resolved,
    input: Buffer,
    { tenant, isLine }: { tenant: string; isLine: boolean },
  ): NewJob {
    const { cacheSeconds: seconds } = body;
    if (seconds && manifest.stateful)
      throw invalid([
        {
          path: '/cacheSeconds',
          message: `is for models that answer an equal job the same; ${manifest.name}@${manifest.version} draws random numbers (stateful: allow)`,
        },
      ]);
    const spec: JobSpec = {
      id: newId('job', clock.now()),
      tenant,
      model: manifest.name,
      version: manifest.version,
      alias,
      priority: body.priority ?? 'standard',
      instances: body.instances.length,
      ...selectionOf(body),
      timeoutSeconds: body.timeoutSeconds ?? DEFAULT_TIMEOUT_SECONDS,
      allowPartial: body.allowPartial ?? false,
      metadata: body.metadata ?? {},
      webhook: body.webhook ?? null,
      retryOf: null,
      ...(seconds && { cache: { hash: hashOfInput(manifest, input, body), seconds } }),
      ...(isLine && { untold: true as const }),
    };
    const { ttlSeconds = DEFAULT_TTL_SECONDS, retentionSeconds } = body;
    return { spec, ttlSeconds, retentionSeconds, input, maxEnqueued: manifest.batching.maxEnqueued };
  }

  async function write(job: NewJob, idempotency?: Idempotency): Promise<Submitted> {
    const submitted = await jobWriter.write(job, idempotency);
    if (!submitted.replayed) deps.onSubmitted(submitted.record);
    return submitted;
  }

  /** Nobody waits for the copy, and without it nothing is compared. */
  function copyFor(shadow: Version, job: NewJob): void {
    const copy = shadowCopy(job, shadow.manifest.version, newId('job', clock.now()));
    jobWriter.write(copy).catch(() => undefined);
  }

  return { submit, retry, resolve, filesOf };
}

function demandOpen({ state, error }: Version, wasAccepted: boolean): void {
  if (state === 'failed') throw new SluiceError('model_failed', error ?? undefined);
  if (state === 'retired' && !wasAccepted) throw new SluiceError('version_retired');
}
