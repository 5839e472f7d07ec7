/**
 * A child with a simulated device: it takes DEVICE_MS for a batch, whatever the size, and no processor time, and answers the
 * input of each job as its output. One batch at a time runs; the next begins when the device is free, not when a timer was late.
 */
import { systemClock as clock } from '../../../shared/base/clock.js';
import type { Instance } from '../../../shared/contract/tensors/tensor.js';
import type {
  FromChild,
  InstanceResult,
  LoadReport,
  ToChild,
} from '../../../worker/inference/protocol/messages.js';

const DEVICE_MS = Number(process.env.DEVICE_MS);
const LOADED: LoadReport = {
  loadMs: 0,
  warmUpMs: 0,
  isolatedSignatures: [],
  wasComputed: true,
  warnings: [],
  goldenDifference: null,
};

/** When the device has computed all that it was given. */
let freeAtMs = 0;

process.on('SIGINT', () => undefined);
process.on('disconnect', () => process.exit(0));
process.on('message', (message) => obey(message as ToChild));
send({ type: 'up', report: { name: 'cpu', device: 'simulated', refused: [] } });

function obey(message: ToChild): void {
  const { call } = message;
  if (message.type === 'ping') send({ type: 'pong', call });
  if (message.type === 'load') send({ type: 'loaded', call, report: LOADED });
  if (message.type === 'unload') send({ type: 'unloaded', call });
  if (message.type === 'measure') send({ type: 'measured', call, speed: null });
  if (message.type === 'run') compute(call, message.instances);
}

function compute(call: number, instances: readonly Instance[]): void {
  const nowMs = clock.monotonic();
  freeAtMs = Math.max(freeAtMs, nowMs) + DEVICE_MS;
  const results = instances.map((outputs): InstanceResult => ({ ok: true, outputs }));
  const rssBytes = process.memoryUsage.rss();
  clock.after(freeAtMs - nowMs, () => send({ type: 'ran', call, results, computeMs: DEVICE_MS, rssBytes }));
}

/** A parent that closed the channel needs no reply. */
function send(message: FromChild): void {
  process.send?.(message, undefined, undefined, () => undefined);
}
