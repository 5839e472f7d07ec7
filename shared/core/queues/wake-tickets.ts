/**
 * Wake tickets call a worker to a queue in which jobs wait, where no worker that holds one stands by.
 *
 * One ticket is out at most. The worker that takes it gives out the next if it leaves jobs waiting. A ticket that is lost between
 * the script that gave it out and the transport is handed over again by the next submit or turn, or by upkeep.
 */
import type { Redis } from '../../redis/connect.js';
import type { Keys } from '../../redis/keys.js';
import { loadScript } from '../../redis/load-script.js';

/** Carries a ticket to a worker at least once, unless it loses the ticket. */
export interface Transport {
  /** Takes a ticket; does nothing when it holds this ticket already. */
  add(model: string, version: number, ticket: string): Promise<void>;
  /** Returns the number of tickets that no worker has taken, or whose worker has not finished. */
  count(model: string, version: number): Promise<number>;
  /** Forgets the queue of a version that is gone; returns the tickets that it still held. */
  drop(model: string, version: number): Promise<string[]>;
}

export interface WakeTicketsDeps {
  redis: Redis;
  keys: Keys;
  transport: Transport;
  /** Hears of a ticket that could not be handed over. No job is lost, but some may have to wait for the next ticket. */
  onError: (kind: string, error: unknown) => void;
}

export type WakeTickets = ReturnType<typeof createWakeTickets>;

/** Returns the giver of tickets. */
export function createWakeTickets({ redis, keys, transport, onError }: WakeTicketsDeps) {
  const recallTicket = loadScript(redis, 'recall-ticket');

  /**
   * Hands a ticket to the transport. It never rejects, because the records of the jobs stand already.
   * @param ticket is what a script gave out; an empty or missing one does nothing.
   */
  async function handOver(model: string, version: number, ticket: string | undefined): Promise<void> {
    if (!ticket) return;
    try {
      await transport.add(model, version, ticket);
    } catch (error) {
      onError('ticket not handed over', error);
    }
  }

  /** Calls a worker if jobs wait. The ticket that is out is handed over once more, because the transport may have lost it. */
  async function recall(model: string, version: number): Promise<void> {
    const ticket = await recallTicket({
      waitingKey: keys.waiting(model, version),
      queueKey: keys.queue(model, version),
      pausedKey: keys.paused,
      model,
    });
    await handOver(model, version, ticket);
  }

  /** Forgets the tickets of a version that is gone, and what was taken under them. */
  async function drop(model: string, version: number): Promise<void> {
    const tickets = await transport.drop(model, version);
    if (tickets.length > 0) await redis.unlink(tickets.map((ticket) => keys.taken(model, version, ticket)));
  }

  return { handOver, recall, drop, count: transport.count };
}
