/**
 * The batches role: takes batches from their queue and drives them.
 *
 * A worker that closes puts its batches back, so that another worker continues them at once.
 */
import { type Job as Message, WaitingError, Worker } from 'bullmq';
import { Counter, type Registry } from 'prom-client';
import { NO_LINES } from '../../shared/contract/batch.js';
import { BATCHES_QUEUE, WORKER_OPTIONS } from '../../shared/queue/catalog.js';
import type { Redis } from '../../shared/redis/connect.js';
import { createDriver, type DriverDeps } from './driver.js';

export interface BatchesRoleDeps extends Omit<DriverDeps, 'onLines'> {
  redis: Redis;
  prefix: string;
  registry: Registry;
}

/** The number of batches that are driven at once; a driver mostly waits for jobs. */
const CONCURRENCY = 4;

/** Starts the role; `close` resolves when no batch is driven here any more. */
export function startBatches(deps: BatchesRoleDeps): { close(): Promise<void> } {
  const { redis, prefix, registry, onError } = deps;
  const lines = new Counter({
    name: 'sluice_batches_lines_total',
    help: 'Lines of batches that have ended, by what became of their jobs.',
    labelNames: ['status'],
    registers: [registry],
  });
  for (const status of Object.keys(NO_LINES)) lines.inc({ status }, 0);
  const drive = createDriver({
    ...deps,
    onLines: (counts) => {
      for (const [status, count] of Object.entries(counts)) lines.inc({ status }, count);
    },
  });
  const closing = new AbortController();

  async function process(message: Message, lock?: string): Promise<void> {
    try {
      await drive(String(message.id), closing.signal);
    } catch (error) {
      if (!closing.signal.aborted) throw error;
      // Without this the batch would wait until its lock has expired.
      await message.moveToWait(lock);
      throw new WaitingError();
    }
  }

  const worker = new Worker(BATCHES_QUEUE, process, {
    ...WORKER_OPTIONS,
    connection: redis,
    prefix,
    concurrency: CONCURRENCY,
  });
  worker.on('error', (error) => onError('batches queue', error));
  worker.on('failed', (_, error) => onError('batch', error));

  return {
    async close() {
      const closed = worker.close();
      closing.abort(new Error('The worker is closing.'));
      await closed;
    },
  };
}
