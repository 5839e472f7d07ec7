/**
 * A feed: the core in the bench's own process, which queues jobs without HTTP and hears of their ends.
 */
import { join } from 'node:path';
import { systemClock as clock } from '../../shared/base/clock.js';
import { openFileBlobs } from '../../shared/blobs/filesystem.js';
import { loadConfig } from '../../shared/contract/config.js';
import { newId } from '../../shared/contract/ids.js';
import { type Core, composeCore } from '../../shared/core/compose.js';
import { openInferenceQueues } from '../../shared/queue/queues.js';
import { openRedis } from '../../shared/redis/connect.js';
import { idleConnections } from '../support/connections.js';
import { type Site, tell } from './site.js';

/** A job that was queued. */
export interface Fed {
  id: string;
  /** Resolves at its end, however it ended. */
  ended: Promise<void>;
}

export interface Feed {
  core: Core;
  /** Resolves once a job of version 1 is queued; `input` holds so many packed instances. */
  submit(model: string, instances: number, input: Buffer): Promise<Fed>;
  /** Submits so many jobs, some hundreds at a time. */
  fill(jobs: number, submit: () => Promise<Fed>): Promise<Fed[]>;
  pause(model: string): Promise<void>;
  resume(model: string): Promise<void>;
}

export const PREFIX = '{bench}';
export const VERSION = 1;
export const TENANT = 'bench';
/** Submits under way at once. */
const FILLING = 500;

/** Opens a feed on the Redis and the folder of blobs of its workers. */
export async function openFeed(site: Site, redisUrl: string, dataDir: string): Promise<Feed> {
  const redis = await openRedis(redisUrl, 'work', report);
  const listener = await openRedis(redisUrl, 'listen', report);
  site.defer(async () => {
    redis.disconnect();
    listener.disconnect();
  });
  const config = {
    ...loadConfig({}),
    SLUICE_KEY_PREFIX: PREFIX,
    SLUICE_MAX_QUEUED_PER_TENANT: Number.MAX_SAFE_INTEGER,
    SLUICE_MAX_QUEUED_PER_MODEL: Number.MAX_SAFE_INTEGER,
    SLUICE_RETENTION_SECONDS: 5,
  };
  const transport = openInferenceQueues(redis, PREFIX, report);
  const blobs = await openFileBlobs(join(dataDir, 'blobs'), clock);
  const onError = (_: string, error: unknown) => report(error);
  const core = composeCore(config, idleConnections(redis, blobs, { transport, onError }));
  /** Functions that are called at the end of a job. */
  const waiting = new Map<string, () => void>();
  // A job notice tells that a job may have ended; the messages behind it tell that one has.
  listener.on('message', (_, ids) => {
    for (const id of ids.split(' ')) waiting.get(id)?.();
  });
  await listener.subscribe(core.keys.ended);

  function endOf(id: string): Promise<void> {
    return new Promise((resolve) => {
      waiting.set(id, () => {
        waiting.delete(id);
        resolve();
      });
    });
  }

  return {
    core,
    async submit(model, instances, input) {
      const id = newId('job', clock.now());
      const ended = endOf(id);
      await core.jobWriter.write({ spec: specOf(id, model, instances), ttlSeconds: 3600, input });
      return { id, ended };
    },
    async fill(jobs, submit) {
      const fed: Fed[] = [];
      while (fed.length < jobs) {
        const length = Math.min(jobs - fed.length, FILLING);
        fed.push(...(await Promise.all(Array.from({ length }, submit))));
      }
      return fed;
    },
    async pause(model) {
      await core.queueStatus.pause(model);
    },
    async resume(model) {
      await core.queueStatus.resume(model, [VERSION]);
    },
  };
}

function specOf(id: string, model: string, instances: number) {
  return {
    id,
    tenant: TENANT,
    model,
    version: VERSION,
    alias: null,
    priority: 'standard' as const,
    instances,
    timeoutSeconds: 300,
    allowPartial: false,
    metadata: {},
    webhook: null,
    retryOf: null,
  };
}

function report(error: unknown): void {
  tell(String(error));
}
