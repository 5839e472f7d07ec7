/** The parts of BullMQ that Sluice uses. */
import type { Queue as BullQueue, Worker as BullWorker } from 'bullmq';
import { requirePackage } from '../base/packages.js';

export type { DefaultJobOptions, Job } from 'bullmq';
export type Queue = BullQueue;
export type Worker = BullWorker;
export const { DelayedError, Queue, WaitingError, Worker } = requirePackage(
  'bullmq',
) as typeof import('bullmq');
