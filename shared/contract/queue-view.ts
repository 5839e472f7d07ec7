/** The view of a model's queue that operators get. */
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
