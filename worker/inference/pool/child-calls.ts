/**
 * Child calls: what a supervisor can ask its child, as functions over the messages of protocol/messages.ts.
 */
import type { Clock } from '../../../shared/base/clock.js';
import type { Manifest } from '../../../shared/contract/models/manifest.js';
import type { StartedChild } from '../../process/child-process.js';
import { CallFailed, createPendingCalls } from '../../process/pending-calls.js';
import type {
  BackendReport,
  ChildReply,
  FromChild,
  LoadReport,
  Measurement,
  Speed,
  ToChild,
} from '../protocol/messages.js';

/** A child says one of these once it is up. */
export type ChildMessage = ChildReply | Extract<FromChild, { type: 'computing' }>;

export type RunCall = Omit<Extract<ToChild, { type: 'run' }>, 'type' | 'call'>;
export type RanReply = Extract<FromChild, { type: 'ran' }>;

/** Calls reject with `CallFailed` when the child failed at them, took too long, or died. */
export interface ChildCalls {
  /** How many calls the child has not replied to. */
  readonly pending: number;
  ping(timeoutMs: number): Promise<void>;
  /** Loads and verifies a version, and checks and warms it up unless another child has `found` its isolated signatures. */
  load(folder: string, manifest: Manifest, found?: readonly string[]): Promise<LoadReport>;
  unload(model: string, version: number): Promise<void>;
  /** Runs the version on its example; resolves with null when it has none. */
  measure(model: string, version: number, measurement: Measurement): Promise<Speed | null>;
  /** `batch` identifies the batch of which the instances are a part, or the whole. */
  run(call: RunCall, timeoutMs: number, batch: object): Promise<RanReply>;
  hear(message: ChildMessage): void;
  /** Rejects what is pending. Returns the batch that the child died of; null when it was computing none. */
  lose(why: string): object | null;
  /** Resolves once nothing is pending. */
  idle(): Promise<void>;
}

type Question = ToChild extends infer M ? (M extends { call: number } ? Omit<M, 'call'> : never) : never;

/** Bound of verifying, loading and warming up one version, because a graph may run for ever. */
const LOAD_TIMEOUT_MS = 600_000;
/** A backend that needs longer for a few runs is none to choose. */
const MEASURE_TIMEOUT_MS = 60_000;

/**
 * Returns the calls to whichever child there is.
 * @param child returns the current child, null while there is none.
 */
export function createChildCalls(
  clock: Clock,
  child: () => StartedChild<BackendReport> | null,
  loadTimeoutMs = LOAD_TIMEOUT_MS,
): ChildCalls {
  const calls = createPendingCalls<ChildReply>(clock, () => child()?.kill());

  async function ask<T extends ChildReply['type']>(
    question: Question,
    expected: T,
    timeoutMs: number,
    batch: object | null = null,
  ): Promise<Extract<ChildReply, { type: T }>> {
    const current = child();
    if (!current?.isConnected) throw new CallFailed('input_crashed_backend', 'The child is gone.', false);
    const send = (call: number) => current.send({ ...question, call } as ToChild);
    const reply = await calls.add(send, timeoutMs, batch);
    if (reply.type !== expected) throw new Error(`The child replied ${reply.type}. This is a bug.`);
    return reply as Extract<ChildReply, { type: T }>;
  }

  return {
    get pending() {
      return calls.size;
    },
    async ping(timeoutMs) {
      await ask({ type: 'ping' }, 'pong', timeoutMs);
    },
    load: async (folder, manifest, found) =>
      (await ask({ type: 'load', folder, manifest, found: found ?? null }, 'loaded', loadTimeoutMs)).report,
    async unload(model, version) {
      await ask({ type: 'unload', model, version }, 'unloaded', loadTimeoutMs);
    },
    async measure(model, version, measurement) {
      const question = { type: 'measure' as const, model, version, ...measurement };
      return (await ask(question, 'measured', MEASURE_TIMEOUT_MS)).speed;
    },
    run: (call, timeoutMs, batch) => ask({ type: 'run', ...call }, 'ran', timeoutMs, batch),
    hear(message) {
      if (message.type === 'computing') calls.turnTo(message.call);
      else calls.settle(message);
    },
    lose: calls.lose,
    idle: calls.idle,
  };
}
