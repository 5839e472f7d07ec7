/**
 * A child that computes y = 2x, and on magic values does what real children do at their worst.
 *
 * | value | what the child does                                          |
 * | ----- | ------------------------------------------------------------ |
 * | -1    | throws                                                       |
 * | -2    | dies of an abort                                             |
 * | -3    | hangs                                                        |
 * | -4    | computes NaN                                                 |
 * | -5    | hangs if it is the first child of its parent                 |
 * | -6    | computes at once and answers late, maybe after a later call  |
 * | -7    | runs out of memory beside more than one other row            |
 * | -8    | runs out of memory if rows may be added                      |
 * | -9    | runs out of memory                                           |
 * | -10   | throws on everything from then on                            |
 *
 * The model "endless" never finishes loading, and every child dies of "mortal". Only the first child of a parent loads "fragile" and "deadly"; later ones
 * refuse the first and die of the second. Only the first child dies of "unlucky". A child whose cache is "never" never
 * comes up.
 */
import { existsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { toTypedArray } from '../../shared/contract/tensors/dtypes.js';
import { toBytes } from '../../shared/contract/tensors/elements.js';
import type { Instance } from '../../shared/contract/tensors/tensor.js';
import type {
  ChildOptions,
  FromChild,
  InstanceResult,
  ToChild,
} from '../../worker/inference/protocol/messages.js';

/** It says that it holds so much memory. */
const RSS_BYTES = 1e9;

// A parent that closed the channel meanwhile needs no reply.
const send = (message: FromChild) => process.send?.(message, undefined, undefined, () => undefined);

/** True once the child throws on everything. */
let isSick = false;

function compute(instance: Instance): InstanceResult {
  const value = toTypedArray('float32', instance.x?.data ?? new Uint8Array(4))[0] ?? 0;
  if (value === -10) isSick = true;
  if (isSick) throw new Error('the backend is sick');
  if (value === -1) throw new Error('the backend refuses -1');
  if (value === -2) process.abort();
  if (value === -3) for (;;);
  if (value === -5 && isFirst('hangs')) for (;;);
  if (value === -4) return { ok: false, code: 'non_finite_output', message: 'NaN' };
  return {
    ok: true,
    outputs: { y: { dtype: 'float32', shape: [], data: toBytes(new Float32Array([2 * value])) } },
  };
}

function isLate(instances: readonly Instance[]): boolean {
  return instances.some((each) => toTypedArray('float32', each.x?.data ?? new Uint8Array(4))[0] === -6);
}

function demandMemory(instances: readonly Instance[], exact: boolean): void {
  const has = (value: number) =>
    instances.some((each) => toTypedArray('float32', each.x?.data ?? new Uint8Array(4))[0] === value);
  if ((has(-7) && instances.length > 2) || (has(-8) && !exact) || has(-9))
    throw new Error(`OOM when allocating tensor with shape[${instances.length}]`);
}

/** Leaves a note for the children that come after this one. */
function isFirst(what: string): boolean {
  const note = join(tmpdir(), `sluice-fake-child-of-${process.ppid}-${what}`);
  if (existsSync(note)) return false;
  writeFileSync(note, '');
  return true;
}

process.on('SIGINT', () => {});
process.on('disconnect', () => process.exit(0));
/** Replies that are late; a call that has its turn before them is announced. */
const late: (() => void)[] = [];
const LATE_MS = 200;

process.on('message', (message: ToChild) => {
  const { call } = message;
  if (late.length > 0) send({ type: 'computing', call });
  if (message.type === 'load' && message.manifest.name === 'endless') for (;;);
  if (message.type === 'ping') {
    send({ type: 'pong', call });
    return;
  }
  if (message.type === 'load') {
    const { name } = message.manifest;
    if (name === 'mortal') process.abort();
    if (name === 'deadly' && !isFirst(name)) process.abort();
    if (name === 'unlucky' && isFirst(name)) process.abort();
    if (name === 'fragile' && !isFirst(name))
      send({ type: 'failed', call, message: 'the files have changed' });
    else
      send({
        type: 'loaded',
        call,
        report: {
          loadMs: 0,
          warmUpMs: 0,
          goldenDifference: null,
          isolatedSignatures: [],
          wasComputed: true,
          warnings: [],
        },
      });
    return;
  }
  if (message.type === 'measure') {
    if (isSick) send({ type: 'failed', call, message: 'the backend is sick' });
    else send({ type: 'measured', call, speed: null });
    return;
  }
  if (message.type === 'unload') {
    send({ type: 'unloaded', call });
    return;
  }
  try {
    demandMemory(message.instances, message.exact);
    const results = message.instances.map(compute);
    const reply = () => send({ type: 'ran', call, results, computeMs: 1, rssBytes: RSS_BYTES });
    if (!isLate(message.instances)) return reply();
    late.push(reply);
    setTimeout(() => late.shift()?.(), LATE_MS);
  } catch (error) {
    send({ type: 'failed', call, message: (error as Error).message });
  }
});
const { librariesDir } = JSON.parse(process.argv[2] ?? '{}') as ChildOptions;
if (librariesDir !== 'never') send({ type: 'up', report: { name: 'cpu', device: 'cpu', refused: [] } });
