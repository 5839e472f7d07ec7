/**
 * Pending calls: what a child has been asked and has not replied to yet.
 *
 *   made -> (the child turns to it) -> settled by its reply          made -> lost with the child
 *
 * Promises: each call is settled once. Only the call that the child has turned to is timed. Of the calls that a child dies
 * with, that one is suspect; the others only waited behind it.
 */
import type { Clock } from '../../shared/base/clock.js';

/** A reply settles a call; `failed` rejects it. */
export type Reply = { type: string; call: number } | { type: 'failed'; call: number; message: string };

/** A call ended without a reply, or with `failed`. */
export class CallFailed extends Error {
  constructor(
    readonly code: 'backend_error' | 'input_crashed_backend' | 'timeout',
    message: string,
    /** False when the call only waited behind the one at fault. */
    readonly suspect: boolean,
  ) {
    super(message);
  }
}

export interface PendingCalls<R extends Reply> {
  readonly size: number;
  /**
   * Makes a call and resolves with its reply. `send` is given the call's number.
   * @param timeoutMs counts from the moment the child turns to this call.
   * @param batch identifies the batch of which the call computes; null when it computes none.
   * @throws {CallFailed} when the call failed, took too long, or was lost with its child.
   */
  add(send: (call: number) => void, timeoutMs: number, batch: object | null): Promise<R>;
  /** The child says that it has turned to this call, though older ones are still pending. */
  turnTo(call: number): void;
  settle(reply: R): void;
  /** Rejects all calls, because the child died. Returns the batch of the call at fault; null when that computed none. */
  lose(why: string): object | null;
  /** Resolves once no call is pending. */
  idle(): Promise<void>;
}

interface PendingCall<R> {
  resolve: (reply: R) => void;
  reject: (reason: Error) => void;
  timeoutMs: number;
  batch: object | null;
  cancelTimer: (() => void) | null;
}

/**
 * Returns the pending calls of one child after another.
 * @param onTimeout hears that the child has worked on a call for longer than it may; it is then expected to die.
 */
export function createPendingCalls<R extends Reply>(clock: Clock, onTimeout: () => void): PendingCalls<R> {
  const calls = new Map<number, PendingCall<R>>();
  let nextCall = 1;
  /** The call that the child said it had turned to. */
  let announced: number | null = null;
  let timedOut: number | null = null;
  let onIdle: (() => void) | null = null;

  /** Returns the call that the child announced, else the oldest, because calls are worked on in order. */
  function currentCall(): number | undefined {
    if (announced !== null && calls.has(announced)) return announced;
    return calls.keys().next().value;
  }

  function timeCurrent(): void {
    const current = currentCall();
    for (const [number, call] of calls) {
      if (number === current) continue;
      call.cancelTimer?.();
      call.cancelTimer = null;
    }
    const call = current === undefined ? undefined : calls.get(current);
    if (!call || call.cancelTimer) return;
    call.cancelTimer = clock.after(call.timeoutMs, () => {
      timedOut = current ?? null;
      onTimeout();
    });
  }

  return {
    get size() {
      return calls.size;
    },

    add(send, timeoutMs, batch) {
      return new Promise((resolve, reject) => {
        const number = nextCall++;
        calls.set(number, { resolve, reject, timeoutMs, batch, cancelTimer: null });
        send(number);
        timeCurrent();
      });
    },

    turnTo(call) {
      announced = call;
      timeCurrent();
    },

    settle(reply) {
      const call = calls.get(reply.call);
      if (!call) return;
      calls.delete(reply.call);
      call.cancelTimer?.();
      if (reply.call === announced) announced = null;
      timeCurrent();
      if (calls.size === 0) onIdle?.();
      if (isFailed(reply)) call.reject(new CallFailed('backend_error', reply.message, true));
      else call.resolve(reply);
    },

    lose(why) {
      const hung = timedOut;
      timedOut = null;
      const suspect = currentCall();
      const lost = [...calls];
      const batch = suspect === undefined ? null : (calls.get(suspect)?.batch ?? null);
      calls.clear();
      onIdle?.();
      announced = null;
      for (const [number, call] of lost) {
        call.cancelTimer?.();
        const code = hung === number ? 'timeout' : 'input_crashed_backend';
        const message =
          code === 'timeout' ? 'The execution took too long.' : `The backend's process died (${why}).`;
        call.reject(new CallFailed(code, message, number === suspect));
      }
      return batch;
    },

    async idle() {
      if (calls.size === 0) return;
      await new Promise<void>((resolve) => {
        onIdle = resolve;
      });
      onIdle = null;
    },
  };
}

function isFailed(reply: Reply): reply is Extract<Reply, { message: string }> {
  return reply.type === 'failed';
}
