/**
 * Consumes the messages of a queue, and watches that it does.
 *
 *   taking -> taking nothing, although messages wait and slots are free -> opened anew, on a new connection -> taking
 *
 * BullMQ's worker can be alive and take nothing for ever, when its blocking connection is dead in a way that neither it nor the
 * client sees. So progress is watched, and not the process or the connection.
 */

import type { Redis } from 'ioredis';
import type { Clock } from '../base/clock.js';
import { type Job, WaitingError, Worker } from './bullmq.js';
import { WORKER_OPTIONS } from './catalog.js';

export interface ConsumerDeps {
  /** The connection of BullMQ; the blocking reads get a copy of it. */
  redis: Redis;
  prefix: string;
  queue: string;
  /** Messages that are taken at a time. */
  slots: number;
  /** Does what a message asks for. `lock` proves that the message is ours. */
  take(message: Job, lock: string | undefined): Promise<void>;
  clock: Clock;
  /** Hears of faults of the connection, and of messages that stay in the queue because `take` rejected. */
  onFault(error: Error): void;
  onFailed(error: Error): void;
}

export interface Consumer {
  isPaused(): boolean;
  /** Takes no more messages, and hands back what is on its way; those that were taken go on. */
  pause(): void;
  resume(): void;
  /** Takes no more messages, as `pause`; resolves when none is under way. */
  close(): Promise<void>;
}

const LOOK_EVERY_MS = 5000;
/** A worker that lives takes a message that waits within a second. */
const LOOKS = 2;
/** BullMQ keeps the time of a delayed message in the upper bits of its score. */
const DELAY_FACTOR = 0x1000;

/** Starts to consume the queue. */
export function startConsumer(deps: ConsumerDeps): Consumer {
  const { redis, prefix, queue, slots, take, clock, onFault, onFailed } = deps;
  const underWay = new Set<Promise<void>>();
  let taken = 0;
  let takenBefore = 0;
  let looksInVain = 0;
  let isClosed = false;
  let worker = open();

  function open(): Worker {
    const opened = new Worker(queue, run, {
      ...WORKER_OPTIONS,
      connection: redis,
      prefix,
      concurrency: slots,
    });
    opened.on('error', onFault);
    opened.on('failed', (_, error) => onFailed(error));
    return opened;
  }

  async function run(message: Job, lock: string | undefined): Promise<void> {
    // A message may have been fetched just before the worker was paused or closed.
    if (isClosed || worker.isPaused()) return handBack(message, lock);
    taken++;
    const running = take(message, lock);
    underWay.add(running);
    try {
      await running;
    } finally {
      underWay.delete(running);
    }
  }

  async function look(): Promise<void> {
    const isFree = !worker.isPaused() && underWay.size < slots;
    const isStuck = isFree && taken === takenBefore && (await waiting()) > 0 && taken === takenBefore;
    looksInVain = isStuck ? looksInVain + 1 : 0;
    takenBefore = taken;
    if (looksInVain >= LOOKS) reopen();
  }

  async function waiting(): Promise<number> {
    const dueBefore = (clock.now() - LOOK_EVERY_MS) * DELAY_FACTOR;
    const counts = await Promise.all([
      redis.llen(`${prefix}:${queue}:wait`),
      redis.zcount(`${prefix}:${queue}:delayed`, '-inf', dueBefore),
    ]);
    return counts.reduce((sum, count) => sum + count);
  }

  function reopen(): void {
    looksInVain = 0;
    onFault(new Error(`${queue}: messages wait and none is taken. The connection is opened anew.`));
    const dead = worker;
    worker = open();
    // It keeps the locks of what it runs until that has ended. If it never ends, the process does not wait for it.
    void dead.close().catch(() => undefined);
  }

  let isLooking = false;
  async function lookOnce(): Promise<void> {
    if (isLooking) return;
    isLooking = true;
    // A look that fails finds Redis away, and then there is nothing to take.
    await look().catch(() => undefined);
    isLooking = false;
  }
  const stop = clock.every(LOOK_EVERY_MS, () => void lookOnce());

  return {
    isPaused: () => worker.isPaused(),
    pause: () => void worker.pause(true),
    resume: () => void worker.resume(),
    async close() {
      isClosed = true;
      stop();
      await worker.close();
      await Promise.allSettled(underWay);
    },
  };
}

/** Leaves a message that was taken to whoever takes it next, at once. It always rejects, which tells BullMQ so. */
export async function handBack(message: Job, lock: string | undefined): Promise<never> {
  await message.moveToWait(lock);
  throw new WaitingError();
}
