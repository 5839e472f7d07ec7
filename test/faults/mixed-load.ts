/**
 * Everything that clients do, all the time, by chance: plain submits and submits under a key, repeats of both, held
 * requests, clients that hang up, cancels, short deadlines, webhooks, poisons, and what must be refused.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import type { Client, Where } from './client.js';
import type { Entry, Order } from './evidence.js';
import type { Ledger } from './ledger.js';
import { createRandom, type Random } from './random.js';
import { TENANTS } from './room.js';

export interface LoadDeps {
  client: Client;
  ledger: Ledger;
  seed: number;
  urls: readonly string[];
  /** Where each tenant wants to be told. */
  receivers: Readonly<Record<string, string>>;
  /** An address that may not be called. */
  trap: string;
}

export interface Load {
  /** Takes no new orders; resolves when all under way are known. */
  stop(): Promise<void>;
  counts: Record<string, number>;
}

const LANES = 8;
const PAUSE_MS = [10, 150] as const;
const PATIENCE_MS = 10_000;
const INSIST_MS = 120_000;
const MAX_ROWS = 6;

export function startLoad(deps: LoadDeps): Load {
  const counts: Record<string, number> = {};
  let isOver = false;

  async function live(lane: number): Promise<void> {
    const shopper = createShopper(deps, createRandom(deps.seed * 1000 + lane));
    while (!isOver) {
      const what = await shopper();
      counts[what] = (counts[what] ?? 0) + 1;
    }
  }

  const lanes = Promise.all(Array.from({ length: LANES }, (_, lane) => live(lane)));
  lanes.catch(() => {}); // Told by `stop`.
  return {
    counts,
    async stop() {
      isOver = true;
      await lanes;
    },
  };
}

/** Does one thing that clients do, and tells what. */
function createShopper(
  { client, ledger, urls, receivers, trap }: LoadDeps,
  random: Random,
): () => Promise<string> {
  const where = (): Where => ({ url: random.pick(urls), patienceMs: PATIENCE_MS });
  const hasty = (): Where => ({ ...where(), patienceMs: random.between(5, 100) });
  const known: { tenant: string; job: string }[] = [];

  function order(more: Partial<Order> = {}): Order {
    const digits = Array.from({ length: random.between(1, MAX_ROWS) }, () => random.between(0, 9));
    const tenant = random.pick(TENANTS);
    const priority = random.pick(['interactive', 'standard', 'bulk'] as const);
    return { tenant, digits, priority, ...more };
  }

  const keyed = (more: Partial<Order> = {}) => ledger.open(order({ key: randomUUID(), ...more }));

  async function insist(entry: Entry, at: () => Where = where): Promise<string | null> {
    const answer = await client.insist(entry, at, INSIST_MS);
    if (answer.is !== 'accepted') return null;
    known.push({ tenant: entry.tenant, job: answer.job });
    if (known.length > 100) known.shift();
    return answer.job;
  }

  const deeds: Record<string, { weight: number; act: () => Promise<unknown> }> = {
    'without a key': { weight: 6, act: () => client.submit(ledger.open(order()), where()) },
    'with a key': { weight: 8, act: () => insist(keyed()) },
    held: { weight: 4, act: () => insist(keyed(), () => ({ ...where(), waitSeconds: 5 })) },
    'hung up on': {
      weight: 4,
      async act() {
        const entry = keyed();
        await client.submit(entry, hasty());
        await insist(entry);
      },
    },
    'twice at once, and again': {
      weight: 3,
      async act() {
        const entry = keyed();
        await Promise.all([client.submit(entry, where()), client.submit(entry, where())]);
        await insist(entry);
        await insist(entry);
      },
    },
    canceled: {
      weight: 3,
      async act() {
        const entry = keyed();
        const job = await insist(entry);
        await pause(random.between(0, 30));
        if (job) await client.cancel(entry.tenant, job, where());
      },
    },
    'short of time': { weight: 2, act: () => insist(keyed({ ttlSeconds: 1 })) },
    told: { weight: 8, act: () => insist(tellable({})) },
    'told with predictions': { weight: 3, act: () => insist(tellable({ includePredictions: true })) },
    'told of failures': { weight: 2, act: () => insist(tellable({ events: ['job.failed', 'job.expired'] })) },
    poisoned: { weight: 0.3, act: () => insist(keyed({ poison: random.pick(['aborts', 'throws']) })) },
    'to a trap': {
      weight: 0.5,
      act: () => client.submit(ledger.open(order({ webhook: { url: trap } })), where()),
    },
    'looked at': {
      weight: 8,
      async act() {
        const seen = known.length > 0 && random.pick(known);
        if (seen) await client.look(seen.tenant, seen.job, where(), random.between(0, 2));
      },
    },
    "another's": { weight: 2, act: peek },
  };

  function tellable(webhook: Partial<NonNullable<Order['webhook']>>): Entry {
    const { tenant } = order();
    return keyed({ tenant, webhook: { url: receivers[tenant] ?? '', ...webhook } });
  }

  /** Another tenant's job does not exist. */
  async function peek(): Promise<void> {
    if (known.length === 0) return;
    const { tenant, job } = random.pick(known);
    const stranger = TENANTS.find((each) => each !== tenant) ?? '';
    const { status } = await client.ask(stranger, 'GET', `/v1/jobs/${job}`, where());
    if (status === 200) ledger.leaks.push({ where: `an answer to ${stranger}`, found: job });
  }

  return async () => {
    const [name, { act }] = random.pick(Object.entries(deeds), ([, { weight }]) => weight);
    await act();
    await pause(random.between(...PAUSE_MS));
    return name;
  };
}
