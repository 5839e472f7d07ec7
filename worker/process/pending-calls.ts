/**
 * Calls: what one child has been asked and has not answered yet.
 *
 *   asked -> (the child turns to it) -> answered          asked -> lost with the child that should have answered
 *
 * Promises: each call is settled once; only the one that the child has turned to is timed; of the calls that a child dies with
 * that one is suspect, the others only waited behind it.
 */
import type { Clock } from '../../shared/base/clock.js';

/** What settles a call; `failed` rejects it. */
export type Reply = { type: string; call: number } | { type: 'failed'; call: number; message: string };

/** How a call ended when it did not end with an answer. */
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

interface Call<Answer> {
  resolve: (answer: Answer) => void;
  reject: (reason: Error) => void;
  /** From the moment the child turns to this call. */
  timeoutMs: number;
  /** The batch of which it computes. */
  of: object | null;
  cancelTimer: (() => void) | null;
}

/** `onTimeout`: the child has worked on a call for longer than it may. */
export function createCalls<Answer extends Reply>(clock: Clock, onTimeout: () => void) {
  const calls = new Map<number, Call<Answer>>();
  let nextCall = 1;
  /** The call that the child told to have turned to. */
  let computing: number | null = null;
  let timedOut: number | null = null;
  /** Told once no call is without an answer. */
  let onIdle: (() => void) | null = null;

  /** The one it told of, else the oldest: calls are worked on in order. */
  function turnedTo(): number | undefined {
    if (computing !== null && calls.has(computing)) return computing;
    return calls.keys().next().value;
  }

  function watch(): void {
    const turn = turnedTo();
    for (const [number, call] of calls) {
      if (number === turn) continue;
      call.cancelTimer?.();
      call.cancelTimer = null;
    }
    const call = turn === undefined ? undefined : calls.get(turn);
    if (!call || call.cancelTimer) return;
    call.cancelTimer = clock.after(call.timeoutMs, () => {
      timedOut = turn ?? null;
      onTimeout();
    });
  }

  return {
    get size() {
      return calls.size;
    },

    /** `send` is given the call's number. */
    add(send: (call: number) => void, timeoutMs: number, of: object | null): Promise<Answer> {
      return new Promise((resolve, reject) => {
        const number = nextCall++;
        calls.set(number, { resolve, reject, timeoutMs, of, cancelTimer: null });
        send(number);
        watch();
      });
    },

    turnTo(number: number): void {
      computing = number;
      watch();
    },

    settle(answer: Answer): void {
      const call = calls.get(answer.call);
      if (!call) return;
      calls.delete(answer.call);
      call.cancelTimer?.();
      if (answer.call === computing) computing = null;
      watch();
      if (calls.size === 0) onIdle?.();
      if (isFailed(answer)) call.reject(new CallFailed('backend_error', answer.message, true));
      else call.resolve(answer);
    },

    /** The child died of the call that it had turned to: answers of which batch that was, null when of none. */
    lose(why: string): object | null {
      const hung = timedOut;
      timedOut = null;
      const suspect = turnedTo();
      const outstanding = [...calls];
      const of = suspect === undefined ? null : (calls.get(suspect)?.of ?? null);
      calls.clear();
      onIdle?.();
      computing = null;
      for (const [number, call] of outstanding) {
        call.cancelTimer?.();
        const code = hung === number ? 'timeout' : 'input_crashed_backend';
        const message =
          code === 'timeout' ? 'The execution took too long.' : `The backend's process died (${why}).`;
        call.reject(new CallFailed(code, message, number === suspect));
      }
      return of;
    },

    /** Resolves once no call is without an answer. */
    async idle(): Promise<void> {
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
