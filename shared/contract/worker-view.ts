/** A worker as it announces itself and as operators see it. */
import { exactly, NULLABLE_TEXT, TIME, type TypeOf } from './schema.js';

const deviceSchema = exactly({
  backend: { type: 'string' },
  device: { type: 'string', description: 'Such as `cpu` or `gpu:0`.' },
  name: { ...NULLABLE_TEXT, description: 'Of the GPU or CPU, where it is known.' },
  memoryBytes: {
    type: ['integer', 'null'],
    description: 'Memory of the GPU, with a CPU of its machine, where it is known.',
  },
  pid: { type: ['integer', 'null'], description: 'The process that computes.' },
  rssBytes: { type: ['integer', 'null'], description: 'What it held after its last batch.' },
});
export type Device = TypeOf<typeof deviceSchema>;

const servedModelSchema = exactly({
  model: { type: 'string' },
  version: { type: 'integer' },
  backend: { type: 'string' },
  loaded: { type: 'boolean', description: 'False while it makes room for others.' },
});
export type ServedModel = TypeOf<typeof servedModelSchema>;

export const workerViewSchema = exactly({
  id: { type: 'string' },
  host: { type: 'string' },
  pid: { type: 'integer' },
  software: { type: 'string', description: 'Version of Sluice.' },
  roles: { type: 'array', items: { type: 'string' } },
  startedAt: TIME,
  seenAt: TIME,
  devices: { type: 'array', items: deviceSchema },
  models: { type: 'array', items: servedModelSchema },
});
export type WorkerView = TypeOf<typeof workerViewSchema>;
