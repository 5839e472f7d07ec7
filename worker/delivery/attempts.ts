/**
 * Attempts: a delivery that may be due -> what came of it, in the record and for who asked.
 *
 * If it is due and its receiver has a turn: sign it afresh, send it, write down what came of it. If the receiver has none, it
 * waits in line, here. Killed anywhere, the
 * record tells whether an attempt is due, so an attempt may happen twice (with the same id), but none is lost or early.
 */
import { setMaxListeners } from 'node:events';
import type { Clock } from '../../shared/base/clock.js';
import type { Delivery } from '../../shared/contract/webhooks/delivery.js';
import { sign } from '../../shared/contract/webhooks/signing.js';
import type { Deliveries } from '../../shared/core/webhooks/deliveries.js';
import type { TurnOutcome, Turns } from './circuit-breaker.js';
import type { AttemptOutcome, DeliveryMetrics } from './metrics.js';
import { createLines } from './receiver-queue.js';
import { type FindRecipient, receiverOf } from './recipients.js';
import { isSuccess, judge, restAsked, type Schedule } from './retry-schedule.js';
import type { Answer, Sender } from './send.js';
import { createPauses } from './short-delays.js';

/** What closing grants to attempts under way; those cut then are not counted and made again. */
export const CLOSE_GRACE_MS = 3000;
/** Who waits in line is looked for so much later, and later the more wait, so that it is a hundred a second at most. */
const IN_LINE_MS = 30_000;
const APART_MS = 10;
/** Who finds no room in line comes back after so long. */
const COME_BACK_MS = 60_000;

export interface AttemptsDeps {
  deliveries: Deliveries;
  findRecipient: FindRecipient;
  sender: Sender;
  turns: Turns;
  clock: Clock;
  schedule: Schedule;
  metrics: DeliveryMetrics;
  /** Has the queue hand a delivery out at its time, milliseconds since the Unix epoch. */
  enqueue: (id: string, dueAt: number) => Promise<void>;
  onError: (kind: string, error: unknown) => void;
}

export interface Attempts {
  /** For the queue: when it is to hand the delivery out again, milliseconds since the Unix epoch; null: never. */
  attend(delivery: Delivery): Promise<number | null>;
  /** For others: resolves when the delivery is in no need of them, and never rejects. */
  begin(delivery: Delivery): Promise<void>;
  /** From now on attempts under way have `CLOSE_GRACE_MS` left; who waits here is left to other processes. */
  close(): Promise<void>;
  /** Resolves when nothing is under way that came out of a line or a pause. */
  ended(): Promise<void>;
}

export function createAttempts(deps: AttemptsDeps): Attempts {
  const { deliveries, findRecipient, sender, turns, clock, schedule, metrics, enqueue, onError } = deps;
  const lines = createLines(
    turns,
    clock,
    (id, receiver) => void keep(comeUp(id).finally(() => lines.advance(receiver))),
  );
  const pauses = createPauses(clock, {
    attend: (id) => keep(comeUp(id)),
    handOn: (id) => void keep(enqueue(id, clock.now()).catch((error) => void report(error))),
  });
  /** Those that came up here; none rejects. */
  const underWay = new Set<Promise<void>>();
  let isClosing = false;
  const cut = new AbortController();
  // Each attempt under way listens.
  setMaxListeners(0, cut.signal);

  async function attend(delivery: Delivery): Promise<number | null> {
    if (delivery.nextAt > clock.now()) return delivery.nextAt;
    const receiver = receiverOf(delivery);
    if (!turns.take(receiver)) return standInLine(delivery, receiver);
    let outcome: TurnOutcome | null = null;
    try {
      const recipient = await findRecipient(delivery);
      if (!recipient) {
        await deliveries.discard(delivery.id);
        return null;
      }
      if (!recipient.enabled) {
        const isHeld = delivery.endpoint !== null && (await deliveries.hold(delivery.id, delivery.endpoint));
        return isHeld ? null : clock.now();
      }
      if (delivery.attempts === 0) metrics.firstAttempt((clock.now() - delivery.at) / 1000);
      const { url, secrets } = recipient;
      const headers = sign(secrets, delivery.id, Math.floor(clock.now() / 1000), delivery.body);
      const answer = await sender.send(url, headers, delivery.body, cut.signal);
      outcome = turnOutcomeOf(answer, clock.now());
      return await record(delivery, answer);
    } finally {
      turns.end(receiver, outcome);
      lines.advance(receiver);
    }
  }

  async function standInLine({ id }: Delivery, receiver: string): Promise<number | null> {
    // For other processes, at once.
    if (isClosing) return clock.now();
    if (lines.wait(receiver, id)) {
      await deliveries.postpone(id, clock.now() + IN_LINE_MS + lines.length * APART_MS);
      return null;
    }
    await deliveries.postpone(id, clock.now() + COME_BACK_MS);
    return clock.now() + COME_BACK_MS;
  }

  /** Answers when another attempt is due, null for never. */
  async function record(delivery: Delivery, { attempt, retryAfter }: Answer): Promise<number | null> {
    const now = clock.now();
    const verdict = judge({ status: attempt.status, retryAfter }, delivery, now, schedule);
    const nextAt = Math.ceil(verdict.status === 'pending' ? now + verdict.delayMs : now);
    const { disableAfterMs } = schedule;
    const recorded = await deliveries.record(delivery, attempt, verdict.status, nextAt, disableAfterMs);
    if (!recorded) return null;
    metrics.attempted(outcomeOf(verdict.status));
    if (recorded.disabled) metrics.disabled(recorded.disabled);
    return recorded.status === 'pending' ? recorded.nextAt : null;
  }

  function keep(acting: Promise<void>): Promise<void> {
    underWay.add(acting);
    return acting.finally(() => underWay.delete(acting));
  }

  /** Out of a line, or after a pause. What goes wrong here is found by the agenda. */
  async function comeUp(id: string): Promise<void> {
    const delivery = await deliveries.get(id).catch(report);
    if (delivery?.status === 'pending') await begin(delivery);
  }

  async function begin(delivery: Delivery): Promise<void> {
    try {
      const dueAt = await attend(delivery);
      if (dueAt !== null && !pauses.wait(delivery.id, dueAt - clock.now())) await enqueue(delivery.id, dueAt);
    } catch (error) {
      if (cut.signal.aborted) await deliveries.recall(delivery.id).catch(report);
      else report(error);
    }
  }

  function report(error: unknown): null {
    onError('delivery', error);
    return null;
  }

  return {
    begin,
    attend: (delivery) =>
      attend(delivery).catch((error: unknown) => {
        if (!cut.signal.aborted) throw error;
        return clock.now();
      }),
    async close() {
      isClosing = true;
      clock.after(CLOSE_GRACE_MS, () => cut.abort(new Error('closing')));
      const waiting = [...lines.close(), ...pauses.close()];
      await Promise.all(waiting.map((id) => deliveries.recall(id)));
    },
    async ended() {
      while (underWay.size > 0) await Promise.all(underWay);
    },
  };
}

function turnOutcomeOf({ attempt, retryAfter }: Answer, nowMs: number): TurnOutcome {
  const outcome = { status: attempt.status, retryAfter };
  return { isSuccess: isSuccess(outcome), tookMs: attempt.latencyMs, restMs: restAsked(outcome, nowMs) };
}

function outcomeOf(status: Delivery['status']): AttemptOutcome {
  return status === 'pending' ? 'retried' : status;
}
