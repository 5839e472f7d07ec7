/**
 * The batches role: takes batches from their queue and drives them.
 *
 * A worker that closes puts its batches back, so that another worker continues them at once.
 */

import { Counter, type Registry } from 'prom-client';
import type { Clock } from '../../shared/base/clock.js';
import type { BlobStore } from '../../shared/blobs/blobs.js';
import { NO_LINES } from '../../shared/contract/batch.js';
import type { Config } from '../../shared/contract/config.js';
import type { Core } from '../../shared/core/compose.js';
import type { JobNotices } from '../../shared/core/jobs/job-notices.js';
import { type Job as Message, WaitingError } from '../../shared/queue/bullmq.js';
import { BATCHES_QUEUE } from '../../shared/queue/catalog.js';
import { startConsumer } from '../../shared/queue/consumer.js';
import type { Redis } from '../../shared/redis/connect.js';
import type { Watermark } from '../../shared/redis/memory-watermark.js';
import { createBatchResults } from './batch-results.js';
import { createDriver } from './driver.js';

export interface BatchesRoleDeps {
  config: Config;
  core: Core;
  blobs: BlobStore;
  /** The connection of BullMQ. */
  queueRedis: Redis;
  notices: JobNotices;
  watermark: Watermark;
  registry: Registry;
  clock: Clock;
  onError: (kind: string, error: unknown) => void;
}

/** The number of batches that are driven at once; a driver mostly waits for jobs. */
const CONCURRENCY = 4;

/** Starts the role; `close` resolves when no batch is driven here any more. */
export function startBatches(deps: BatchesRoleDeps): { close(): Promise<void> } {
  const { config, core, blobs, queueRedis, notices, watermark, registry, clock, onError } = deps;
  const lines = new Counter({
    name: 'sluice_batches_lines_total',
    help: 'Lines of batches that have ended, by what became of their jobs.',
    labelNames: ['status'],
    registers: [registry],
  });
  for (const status of Object.keys(NO_LINES)) lines.inc({ status }, 0);
  const drive = createDriver({
    core,
    results: createBatchResults({ jobs: core.jobs, files: core.files, blobs }),
    notices,
    watermark,
    fileRetentionSeconds: config.SLUICE_FILE_RETENTION_SECONDS,
    limits: { maxBytes: config.SLUICE_MAX_BODY_BYTES, maxDepth: config.SLUICE_MAX_DEPTH },
    clock,
    onError,
    onLines: (counts) => {
      for (const [status, count] of Object.entries(counts)) lines.inc({ status }, count);
    },
  });
  const closing = new AbortController();

  async function take(message: Message, lock?: string): Promise<void> {
    try {
      await drive(String(message.id), closing.signal);
    } catch (error) {
      if (!closing.signal.aborted) throw error;
      // Without this the batch would wait until its lock has expired.
      await message.moveToWait(lock);
      throw new WaitingError();
    }
  }

  const consumer = startConsumer({
    redis: queueRedis,
    prefix: config.SLUICE_KEY_PREFIX,
    queue: BATCHES_QUEUE,
    slots: CONCURRENCY,
    take,
    clock,
    onFault: (error) => onError('batches queue', error),
    onFailed: (error) => onError('batch', error),
  });

  return {
    async close() {
      const closed = consumer.close();
      closing.abort(new Error('The worker is closing.'));
      await closed;
    },
  };
}
