/**
 * Submission: what a submit of one job, of many and of a file of jobs have in common. A parsed body becomes a checked,
 * encoded job, and that a record; an Idempotency-Key makes this happen once.
 */
import type { Clock } from '../../base/clock.js';
import { invalid, SluiceError } from '../../contract/errors.js';
import { newId } from '../../contract/ids.js';
import {
  DEFAULT_TIMEOUT_SECONDS,
  DEFAULT_TTL_SECONDS,
  SHADOW_TENANT,
  type Submit,
  submitSchema,
} from '../../contract/job.js';
import { compileGuard } from '../../contract/schema.js';
import { createInputEncoder, type InputEncoder } from '../../contract/tensors/input.js';
import { type FindFile, NO_SUCH_FILE } from '../../contract/tensors/input-value.js';
import { packInstances } from '../../contract/tensors/tensor.js';
import { readImageHeader } from '../../images/image.js';
import type { Files } from '../files/files.js';
import type { Models, Resolved, Version } from '../models/models.js';
import { SHADOW_RETENTION_SECONDS, SHADOW_TTL_SECONDS } from '../models/shadows.js';
import type { Idempotency, Jobs, NewJob, Submitted } from './jobs.js';
import { hashOfInput } from './prediction-cache.js';

export interface SubmissionDeps {
  jobs: Jobs;
  models: Models;
  files: Files;
  clock: Clock;
  maxInstances: number;
  /** Of the files that a request names, each as often as it is named. */
  maxFileBytes: number;
  /** Throws `url_not_allowed` for a webhook that may not be called. */
  checkWebhookUrl: (url: string) => void;
  onSubmitted: (model: string) => void;
  /** A job was ended by predictions of an equal one. */
  onCached: (model: string) => void;
}

export interface SubmittableJob extends NewJob {
  /** A version that is given a copy. */
  shadow?: Version | null;
}

export interface Submitting {
  tenant: string;
  findFile: FindFile;
  /** An earlier call may have made the job. */
  mayExist: boolean;
  /** The job is a line of a batch: part of what was accepted before its version was retired, and told to no endpoint. */
  isLine?: boolean;
}

export type Submission = ReturnType<typeof createSubmission>;

const guardSubmit = compileGuard(submitSchema);

export function createSubmission(deps: SubmissionDeps) {
  const { jobs, models, files, clock, maxFileBytes } = deps;
  const encoders = new Map<string, InputEncoder>();

  /** One encoder a version, made when it is first used. */
  function encoderOf({ version }: Resolved): InputEncoder {
    const key = `${version.manifest.name}@${version.manifest.version}:${version.sha256}`;
    const encoder = encoders.get(key) ?? createInputEncoder(version.manifest, readImageHeader);
    encoders.set(key, encoder);
    return encoder;
  }

  /** A version that all jobs of a file may be submitted for. */
  async function resolve(model: string): Promise<Resolved> {
    return demandOpen(await models.resolve(model), false);
  }

  function demandOpen(resolved: Resolved, wasAccepted: boolean): Resolved {
    if (resolved.version.state === 'failed')
      throw new SluiceError('model_failed', resolved.version.error ?? undefined);
    if (resolved.version.state === 'retired' && !wasAccepted) throw new SluiceError('version_retired');
    return resolved;
  }

  async function check(body: Submit, wasAccepted: boolean): Promise<Resolved> {
    if (body.instances.length > deps.maxInstances) {
      throw invalid([
        {
          path: '/instances',
          message: `has ${body.instances.length} instances, at most ${deps.maxInstances} are taken`,
        },
      ]);
    }
    const resolved = demandOpen(await models.resolve(body.model, true), wasAccepted);
    if (body.webhook) deps.checkWebhookUrl(body.webhook.url);
    return resolved;
  }

  /** The files that the jobs of one request may name; a file is read once, and counts for every instance it is used in. */
  function filesOf(tenant: string): FindFile {
    const found = new Map<string, ReturnType<Files['get']>>();
    const contents = new Map<string, ReturnType<Files['read']>>();
    let bytes = 0;
    return async (id) => {
      const record = await once(found, id, () => files.get(tenant, id));
      if (!record) return NO_SUCH_FILE;
      if (bytes + record.bytes > maxFileBytes)
        return `the files that a request names may hold ${maxFileBytes} bytes together`;
      bytes += record.bytes;
      return { bytes: record.bytes, read: () => once(contents, id, () => files.read(record)) };
    };
  }

  /** `value` is what POST /v1/jobs takes. */
  async function toJob(
    value: unknown,
    { tenant, findFile, mayExist, isLine = false }: Submitting,
  ): Promise<SubmittableJob> {
    const body = guardSubmit(value);
    const resolved = await check(body, isLine);
    if (!mayExist) jobs.demandRoom(tenant, resolved.version.manifest.name);
    const instances = await encoderOf(resolved).encode(body.instances, '/instances', findFile);
    const input = packInstances(instances);
    const { manifest } = resolved.version;
    const cache = body.cacheSeconds && { hash: hashOfInput(manifest, input), seconds: body.cacheSeconds };
    const spec = {
      id: newId('job', clock.now()),
      tenant,
      model: resolved.version.manifest.name,
      version: resolved.version.manifest.version,
      alias: resolved.alias,
      priority: body.priority ?? 'standard',
      instances: instances.length,
      timeoutSeconds: body.timeoutSeconds ?? DEFAULT_TIMEOUT_SECONDS,
      allowPartial: body.allowPartial ?? false,
      metadata: body.metadata ?? {},
      webhook: body.webhook ?? null,
      retryOf: null,
      ...(cache && { cache }),
      ...(isLine && { untold: true as const }),
    };
    return {
      spec,
      ttlSeconds: body.ttlSeconds ?? DEFAULT_TTL_SECONDS,
      retentionSeconds: body.retentionSeconds,
      input,
      maxEnqueued: manifest.batching.maxEnqueued,
      shadow: resolved.shadow,
    };
  }

  async function submit(job: SubmittableJob, idempotency?: Idempotency): Promise<Submitted> {
    const submitted = await jobs.submit(job, idempotency);
    if (submitted.replayed) return submitted;
    deps.onSubmitted(job.spec.model);
    if (job.shadow) void copy(job, job.shadow).catch(() => undefined);
    if (submitted.record.end?.cached) deps.onCached(job.spec.model);
    return submitted;
  }

  /** For a shadow; without it nothing is compared. Nobody waits for it, or hears of it. */
  async function copy({ spec, input }: NewJob, { manifest }: Version): Promise<void> {
    const { id, tenant, model, instances, timeoutSeconds } = spec;
    await jobs.submit({
      spec: {
        id: newId('job', clock.now()),
        tenant: SHADOW_TENANT,
        model,
        version: manifest.version,
        alias: null,
        priority: 'bulk',
        instances,
        timeoutSeconds,
        allowPartial: false,
        metadata: {},
        webhook: null,
        retryOf: null,
        shadowOf: { id, tenant },
      },
      ttlSeconds: SHADOW_TTL_SECONDS,
      retentionSeconds: SHADOW_RETENTION_SECONDS,
      input,
    });
  }

  return { resolve, filesOf, toJob, submit };
}

function once<V>(made: Map<string, V>, key: string, make: () => V): V {
  const value = made.get(key) ?? make();
  made.set(key, value);
  return value;
}
