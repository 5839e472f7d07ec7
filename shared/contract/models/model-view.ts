/** The views of models and versions that callers get. Their schemas are the source of their types. */
import {
  exactly,
  type JsonSchema,
  NULLABLE_TEXT,
  NULLABLE_TIME,
  orNull,
  TIME,
  type TypeOf,
} from '../schema.js';
import { manifestSchema } from './manifest.js';
import { VERSION_NUMBER } from './model-ref.js';
import { VERSION_STATES, WAITED_FOR } from './version-state.js';

const { signature, signatures, batching, quantization } = manifestSchema.properties;
const COUNT = { type: 'integer', minimum: 0 } as const satisfies JsonSchema;

export const versionViewSchema = exactly({
  version: VERSION_NUMBER,
  state: { enum: VERSION_STATES, description: '`ready` once a worker has loaded and checked it.' },
  workers: {
    ...COUNT,
    description:
      'Live workers that serve it, as of the last three seconds; jobs of a version without one wait.',
  },
  waitingFor: orNull(
    exactly({
      what: {
        enum: WAITED_FOR,
        description:
          'While it is `pending` or `loading`: a `worker` to take it up; a worker with a `backend` for it, `error` says more; ' +
          'its `turn`, because a worker loads others; its `files`, or its `checks`, by a worker that has begun.',
      },
      since: TIME,
    }),
  ),
  signature: { ...orNull(signature), description: 'Null for a bundled version whose files cannot be read.' },
  signatureName: {
    ...NULLABLE_TEXT,
    description: 'Which signature of a SavedModel that is, where it says so.',
  },
  signatures: { ...signatures, description: 'Other signatures, by name, that jobs may ask for.' },
  batching: orNull(batching),
  quantization: orNull(quantization),
  stateful: {
    type: 'boolean',
    description: 'It draws random numbers, so equal jobs get unlike predictions.',
  },
  backend: { ...NULLABLE_TEXT, description: 'On which the worker that last reported it serves it.' },
  sizeBytes: COUNT,
  sha256: { type: 'string', description: "Of the version's files and their hashes." },
  createdAt: TIME,
  deletedAfter: {
    ...NULLABLE_TIME,
    description: 'From when a retired version goes with its files, once no job needs it; null: it stays.',
  },
  error: { ...NULLABLE_TEXT, description: 'Why it does not serve.' },
  warnings: {
    type: 'array',
    items: { type: 'string' },
    description: 'What its warm-up found; it serves all the same.',
  },
  metrics: {
    type: ['object', 'null'],
    description: 'Loading, warm-up and golden vectors; with `auto` what the backends were measured at.',
  },
});
export type VersionView = TypeOf<typeof versionViewSchema>;

const canaryViewSchema = exactly({
  version: { type: 'integer' },
  percent: { type: 'number' },
  minJobs: { type: 'integer' },
  maxErrorPercent: { type: 'number' },
  maxSlowdown: { type: 'number' },
  state: { enum: ['running', 'rolled_back'] },
  startedAt: TIME,
  reason: { ...NULLABLE_TEXT, description: 'Why it was rolled back.' },
  endedAt: NULLABLE_TIME,
});

const shadowViewSchema = exactly({
  version: { type: 'integer' },
  percent: { type: 'number' },
  compared: { ...COUNT, description: 'Instances whose predictions were compared.' },
  agreed: { ...COUNT, description: 'Of them those that agreed.' },
  failed: { ...COUNT, description: 'Copies that failed though the other version computed.' },
});

const byAlias = <const S extends JsonSchema>(schema: S) =>
  ({ type: 'object', additionalProperties: schema }) as const;

export const modelViewSchema = exactly({
  name: { type: 'string' },
  description: { type: 'string' },
  deleting: {
    type: 'boolean',
    description: 'It takes no new jobs, and goes when its last job has ended.',
  },
  versions: { type: 'array', items: versionViewSchema },
  aliases: byAlias({ type: 'integer' }),
  canaries: byAlias(canaryViewSchema),
  shadows: byAlias(shadowViewSchema),
});
export type ModelView = TypeOf<typeof modelViewSchema>;
