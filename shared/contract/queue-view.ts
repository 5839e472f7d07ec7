/** The views of a model's queue and of its scaling that operators get. */
import { exactly, NULLABLE_TIME, type TypeOf } from './schema.js';

const versionQueueSchema = exactly({
  version: { type: 'integer' },
  queued: { type: 'integer' },
  nextAgeMs: { type: ['number', 'null'], description: 'Age of the job that starts next.' },
  startsPerSecond: {
    type: ['number', 'null'],
    description: 'Jobs started in a second, while jobs waited; null when that was not measured.',
  },
});
export type VersionQueue = TypeOf<typeof versionQueueSchema>;

export const queueViewSchema = exactly({
  model: { type: 'string' },
  queued: { type: 'integer', description: 'Jobs that wait, of all versions.' },
  paused: { type: 'boolean' },
  pausedAt: NULLABLE_TIME,
  versions: { type: 'array', items: versionQueueSchema },
});
export type QueueView = TypeOf<typeof queueViewSchema>;

export const autoscaleViewSchema = exactly({
  model: { type: 'string' },
  backlog: { type: 'integer', description: 'Jobs that wait.' },
  oldestAgeMs: { type: 'integer', description: 'Age of the job that starts next; 0 where none waits.' },
  arrivalPerSecond: { type: 'number', description: 'Jobs a second, averaged over half a minute.' },
  workers: { type: 'integer', description: 'Workers that serve the model.' },
  perWorkerPerSecond: {
    type: ['number', 'null'],
    description: 'Jobs a second that a worker starts while jobs wait; null when that was not measured.',
  },
  timeToDrainSeconds: {
    type: ['number', 'null'],
    description: 'Time in which these workers start what waits now; null when that is not known.',
  },
  targetDrainSeconds: { type: 'integer', description: 'SLUICE_TARGET_DRAIN_SECONDS.' },
  desiredWorkers: { type: 'integer', description: 'Workers that are needed to meet the target.' },
});
export type AutoscaleView = TypeOf<typeof autoscaleViewSchema>;
