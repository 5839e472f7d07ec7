/**
 * Attempts: a delivery that may be due -> what came of it, in the record and for who asked.
 *
 * If it is due and its receiver has a turn: sign it afresh, send it, write down what came of it. If the receiver has none, it
 * waits in line, here. Killed anywhere, the
 * record tells whether an attempt is due, so an attempt may happen twice (with the same id), but none is lost or early.
 */
import { setMaxListeners } from 'node:events';
import type { Clock } from '../../shared/base/clock.js';
import type { Delivery } from '../../shared/contract/delivery.js';
import { sign } from '../../shared/contract/signing.js';
import type { Deliveries } from '../../shared/core/deliveries.js';
import { createLines } from './lines.js';
import type { AttemptOutcome, DeliveryMetrics } from './metrics.js';
import { createPauses } from './pauses.js';
import type { FindRecipient, Recipient } from './recipients.js';
import { isSuccess, judge, restAsked, type Schedule } from './schedule.js';
import type { Sender } from './send.js';
import type { Turns } from './turns.js';

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
}

export function createAttempts(deps: AttemptsDeps): Attempts {
  const { deliveries, findRecipient, sender, turns, clock, schedule, metrics, enqueue, onError } = deps;
  const lines = createLines(
    turns,
    clock,
    (id, receiver) => void comeUp(id).finally(() => lines.advance(receiver)),
  );
  const pauses = createPauses(clock, (id) => void comeUp(id));
  const cut = new AbortController();
  // Each attempt under way listens.
  setMaxListeners(0, cut.signal);

  async function attend(delivery: Delivery): Promise<number | null> {
    if (delivery.nextAt > clock.now()) return delivery.nextAt;
    const recipient = await findRecipient(delivery);
    if (!recipient) {
      await deliveries.discard(delivery.id);
      return null;
    }
    if (!recipient.enabled) {
      const isHeld = delivery.endpoint !== null && (await deliveries.hold(delivery.id, delivery.endpoint));
      return isHeld ? null : clock.now();
    }
    if (turns.take(recipient.receiver)) return attempt(delivery, recipient);
    if (!lines.wait(recipient.receiver, delivery.id)) {
      await deliveries.postpone(delivery.id, clock.now() + COME_BACK_MS);
      return clock.now() + COME_BACK_MS;
    }
    await deliveries.postpone(delivery.id, clock.now() + IN_LINE_MS + lines.length * APART_MS);
    return null;
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

  async function attempt(delivery: Delivery, { url, secrets, receiver }: Recipient): Promise<number | null> {
    const turn = { isSuccess: false, tookMs: 0, restMs: 0 };
    try {
      if (delivery.attempts === 0) metrics.firstAttempt((clock.now() - delivery.at) / 1000);
      const headers = sign(secrets, delivery.id, Math.floor(clock.now() / 1000), delivery.body);
      const { attempt: made, retryAfter } = await sender.send(url, headers, delivery.body, cut.signal);
      const outcome = { status: made.status, retryAfter };
      const now = clock.now();
      turn.isSuccess = isSuccess(outcome);
      turn.tookMs = made.latencyMs;
      turn.restMs = restAsked(outcome, now);
      const verdict = judge(outcome, delivery, now, schedule);
      const nextAt = Math.ceil(verdict.status === 'pending' ? now + verdict.delayMs : now);
      const recorded = await deliveries.record(
        delivery,
        made,
        verdict.status,
        nextAt,
        schedule.disableAfterMs,
      );
      if (!recorded) return null;
      metrics.attempted(outcomeOf(verdict.status));
      if (recorded.disabled) metrics.disabled(recorded.disabled);
      return recorded.status === 'pending' ? recorded.nextAt : null;
    } finally {
      turns.end(receiver, turn);
      lines.advance(receiver);
    }
  }

  return {
    begin,
    attend: (delivery) =>
      attend(delivery).catch((error: unknown) => {
        if (!cut.signal.aborted) throw error;
        return clock.now();
      }),
    async close() {
      clock.after(CLOSE_GRACE_MS, () => cut.abort(new Error('closing')));
      const waiting = [...lines.close(), ...pauses.close()];
      await Promise.all(waiting.map((id) => deliveries.recall(id)));
    },
  };
}

function outcomeOf(status: Delivery['status']): AttemptOutcome {
  return status === 'pending' ? 'retried' : status;
}
