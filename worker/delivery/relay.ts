/**
 * Relay: reads events from the outbox, makes their deliveries, and has the dispatcher begin the first attempts.
 *
 * An event leaves the outbox only when its deliveries stand in Redis and in their due index. If a relay dies before that, the
 * entry stays pending in the stream's group, and any relay takes it again after `reclaimMs`; no delivery is made twice. If it
 * dies later, the due index finds the deliveries. All relays share one consumer name. The group still hands each entry to
 * only one of them, and the names of dead processes do not pile up.
 */
import { type Clock, sleep } from '../../shared/base/clock.js';
import type { FanOut } from '../../shared/core/webhooks/fan-out.js';
import { decodeEvent } from '../../shared/core/webhooks/outbox.js';
import type { Redis } from '../../shared/redis/connect.js';
import type { Keys } from '../../shared/redis/keys.js';
import type { Dispatcher } from './dispatcher.js';
import type { DeliveryMetrics } from './metrics.js';

const GROUP = 'relay';
const CONSUMER = 'relay';
const PAGE = 100;
/** The first id of the pending entries; XAUTOCLAIM returns it again after the last page. */
const START = '0-0';
/** The longest time that one read blocks, and therefore that closing waits. */
const BLOCK_MS = 500;
const RETRY_MS = 1000;
/** Longer than a relay needs for a page. Otherwise another relay would do the same work again, which costs time but is correct. */
const RECLAIM_MS = 10_000;

export interface RelayDeps {
  redis: Redis;
  /** A separate connection, because its reads block. */
  listen: Redis;
  keys: Keys;
  dispatcher: Pick<Dispatcher, 'start' | 'resume'>;
  fanOut: Pick<FanOut, 'begin'>;
  metrics: Pick<DeliveryMetrics, 'dropped'>;
  clock: Clock;
  onError: (kind: string, error: unknown) => void;
  reclaimMs?: number;
}

type Entry = [id: string, fields: string[] | null];
type MakeDeliveries = ReturnType<FanOut['begin']>;

/** Starts to relay; `close` resolves when the entries in hand are dealt with. Errors go to `onError`, and the relay goes on. */
export function startRelay(deps: RelayDeps): { close(): Promise<void> } {
  const { redis, listen, keys, dispatcher, metrics, clock, onError, reclaimMs = RECLAIM_MS } = deps;
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

  async function makeDeliveries(fields: readonly string[], fanOut: MakeDeliveries): Promise<void> {
    const event = decodeEvent(fields);
    const made = await fanOut(event);
    if (!made)
      onError('relay', new Error(`What event ${event.id} is about is no longer kept: nothing to tell.`));
    for (const { id, status, delivery } of made ?? []) {
      if (delivery) dispatcher.start(delivery);
      else if (status === 'pending') dispatcher.resume(id);
      else if (status === 'dropped') metrics.dropped();
    }
  }

  async function relay([entryId, fields]: Entry, fanOut: MakeDeliveries): Promise<void> {
    if (fields) await makeDeliveries(fields, fanOut);
    // The deletion must come first: the next reclaim drops an entry that is deleted but not acknowledged, while an entry that is
    // acknowledged but not deleted would stay for ever.
    await Promise.all([redis.xdel(keys.outbox, entryId), redis.xack(keys.outbox, GROUP, entryId)]);
  }

  /** An entry that fails stays pending, and a relay takes it again. */
  async function relayAll(entries: readonly Entry[]): Promise<void> {
    const fanOut = deps.fanOut.begin();
    const relayed = await Promise.allSettled(entries.map((entry) => relay(entry, fanOut)));
    for (const each of relayed) if (each.status === 'rejected') onError('relay', each.reason);
  }

  /** Reads all pending entries. If it read only the first page, entries that always fail would hide those behind them. */
  async function relayPending(): Promise<void> {
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
          await relayPending();
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
