/**
 * Outbox -> deliveries -> their first attempts.
 *
 * An event leaves the outbox only after its deliveries stand in Redis, on their agenda. A relay that dies before leaves
 * its entry pending in the stream's group, and after `reclaimMs` any relay takes it again, which makes none twice; one that
 * dies after leaves them to the agenda. All relays share one consumer name: the group hands each entry to one of them all the
 * same, and no names of dead processes pile up.
 */
import { type Clock, sleep } from '../../shared/base/clock.js';
import type { FanOut } from '../../shared/core/webhooks/fan-out.js';
import { decodeEvent } from '../../shared/core/webhooks/outbox.js';
import type { Redis } from '../../shared/redis/connect.js';
import type { Keys } from '../../shared/redis/keys.js';
import type { FirstAttempts } from './first-attempt.js';
import type { DeliveryMetrics } from './metrics.js';

const GROUP = 'relay';
const CONSUMER = 'relay';
const PAGE = 100;
/** Of what is pending; where its pages end, too. */
const START = '0-0';
/** Bounds how long closing waits, too. */
const BLOCK_MS = 500;
const RETRY_MS = 1000;
/** Longer than a relay needs for a page, or it would be robbed while it works (which costs work, not correctness). */
export const RECLAIM_MS = 10_000;

export interface RelayDeps {
  redis: Redis;
  /** A connection of its own: it blocks. */
  listen: Redis;
  keys: Keys;
  first: FirstAttempts;
  fanOut: Pick<FanOut, 'begin'>;
  metrics: Pick<DeliveryMetrics, 'dropped'>;
  clock: Clock;
  onError: (kind: string, error: unknown) => void;
  reclaimMs?: number;
}

type Entry = [id: string, fields: string[] | null];
type Begun = ReturnType<FanOut['begin']>;

export function startRelay(deps: RelayDeps): { close(): Promise<void> } {
  const { redis, listen, keys, first, metrics, clock, onError, reclaimMs = RECLAIM_MS } = deps;
  const closing = new AbortController();
  let reclaimedMs = Number.NEGATIVE_INFINITY;

  async function createGroup(): Promise<void> {
    try {
      await listen.xgroup('CREATE', keys.outbox, GROUP, '0', 'MKSTREAM');
    } catch (error) {
      if (!String(error).includes('BUSYGROUP')) throw error;
    }
  }

  async function readNew(): Promise<Entry[]> {
    const streams = (await listen.xreadgroup(
      'GROUP',
      GROUP,
      CONSUMER,
      'COUNT',
      PAGE,
      'BLOCK',
      BLOCK_MS,
      'STREAMS',
      keys.outbox,
      '>',
    )) as [key: string, entries: Entry[]][] | null;
    return streams?.[0]?.[1] ?? [];
  }

  async function makeDeliveries(fields: readonly string[], fanOut: Begun): Promise<void> {
    const event = decodeEvent(fields);
    const made = await fanOut(event);
    if (!made)
      onError('relay', new Error(`What event ${event.id} is about is no longer kept: nothing to tell.`));
    for (const { id, status, delivery } of made ?? []) {
      if (delivery) first.begin(delivery);
      else if (status === 'pending') first.resume(id);
      else if (status === 'dropped') metrics.dropped();
    }
  }

  async function relay([entryId, fields]: Entry, fanOut: Begun): Promise<void> {
    if (fields) await makeDeliveries(fields, fanOut);
    // In this order: an entry deleted but not acknowledged is dropped by the next reclaim, the reverse would stay for ever.
    await Promise.all([redis.xdel(keys.outbox, entryId), redis.xack(keys.outbox, GROUP, entryId)]);
  }

  /** An entry that fails stays pending and is taken again. */
  async function relayAll(entries: readonly Entry[]): Promise<void> {
    const fanOut = deps.fanOut.begin();
    const outcomes = await Promise.allSettled(entries.map((entry) => relay(entry, fanOut)));
    for (const outcome of outcomes) if (outcome.status === 'rejected') onError('relay', outcome.reason);
  }

  /** From its beginning to its end, or what fails there again and again would hide what comes after. */
  async function relayLeft(): Promise<void> {
    if (clock.monotonic() - reclaimedMs < reclaimMs / 2) return;
    reclaimedMs = clock.monotonic();
    let from = START;
    do {
      const [next, entries] = (await listen.xautoclaim(
        keys.outbox,
        GROUP,
        CONSUMER,
        reclaimMs,
        from,
        'COUNT',
        PAGE,
      )) as [next: string, entries: Entry[]];
      await relayAll(entries);
      from = next;
    } while (from !== START && !closing.signal.aborted);
  }

  async function run(): Promise<void> {
    while (!closing.signal.aborted) {
      try {
        await createGroup();
        while (!closing.signal.aborted) {
          await relayLeft();
          await relayAll(await readNew());
        }
      } catch (error) {
        onError('relay', error);
        await sleep(clock, RETRY_MS, closing.signal);
      }
    }
  }

  const ended = run();
  return {
    close() {
      closing.abort();
      return ended;
    },
  };
}
