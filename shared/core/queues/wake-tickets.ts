/**
 * Wake tickets: what calls a worker to a queue in which jobs wait.
 *
 * While jobs wait in a queue, one ticket is out: who takes it gives out the next if it leaves jobs waiting. One that is
 * lost between the script that gave it out and the transport is replaced by the next submit or start, or by upkeep.
 */
import { defineScript, type Redis } from '../../redis/connect.js';
import type { Keys } from '../../redis/keys.js';
import { RECALL } from '../jobs/job-scripts.js';

/** The queue as far as jobs need it: carries a ticket to a worker at least once, unless it loses it. */
export interface Transport {
  /** Does nothing when it already holds this ticket. */
  add(model: string, version: number, ticket: string): Promise<void>;
  /** Tickets that nobody has taken, or whose taker has not finished. */
  count(model: string, version: number): Promise<number>;
}

export interface WakeTicketsDeps {
  redis: Redis;
  keys: Keys;
  transport: Transport;
  /** Hears of a ticket that could not be handed over: nothing is lost, but its jobs may have to wait for the next. */
  onError: (kind: string, error: unknown) => void;
}

export type WakeTickets = ReturnType<typeof createWakeTickets>;

export function createWakeTickets({ redis, keys, transport, onError }: WakeTicketsDeps) {
  const recallScript = defineScript<string>(redis, 'sluiceRecall', RECALL);

  /** `ticket` as a script gave it out, '' or undefined for none. Never rejects: the records stand already. */
  async function handOver(model: string, version: number, ticket: string | undefined): Promise<void> {
    if (!ticket) return;
    try {
      await transport.add(model, version, ticket);
    } catch (error) {
      onError('ticket not handed over', error);
    }
  }

  /** Gives out a ticket if jobs wait; the one that is out once more, unless it was lost: its taker may not have heard of it. */
  async function recall(model: string, version: number): Promise<void> {
    const queue = [keys.waiting(model, version), keys.queue(model, version), keys.paused];
    await handOver(model, version, await recallScript(queue, [model]));
  }

  return { handOver, recall, count: transport.count };
}
