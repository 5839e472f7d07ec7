/**
 * The ledger: a client's own book of what it asked for and what it was answered, and the receivers' of what came.
 */
import type { JobView } from '../../shared/contract/job-view.js';
import {
  type Answer,
  type Arrival,
  type Entry,
  type Evidence,
  type Order,
  type Subscriber,
  seenIn,
  TERMINAL,
} from './evidence.js';
import { instancesOf } from './golden-digits.js';
import { foreignCanaries, newCanary } from './tenant-canary.js';

export interface Ledger {
  entries: Entry[];
  endpoints: Subscriber[];
  seen: Evidence['seen'][number][];
  arrivals: Arrival[];
  leaks: { where: string; found: string }[];
  settles: Map<string, number>;
  readonly scanned: number;
  open(order: Order): Entry;
  /** The same text each time: a retry must not be another request. */
  bodyOf(entry: Entry): string;
  answered(entry: Entry, answer: Answer): void;
  /** A job as an answer or a webhook showed it; kept once it has ended. */
  saw(view: JobView, where: 'answer' | 'webhook'): void;
  arrived(arrival: Arrival): void;
  /** Looks for what belongs to others in a text that `tenant` was given; null: that nobody was meant to see. */
  scan(text: string, tenant: string | null, where: string): void;
}

export function createLedger(): Ledger {
  const canaries = new Map<string, string>();
  let scanned = 0;

  function canaryOf(tenant: string): string {
    const canary = canaries.get(tenant) ?? newCanary(tenant);
    canaries.set(tenant, canary);
    return canary;
  }

  const ledger: Ledger = {
    entries: [],
    endpoints: [],
    seen: [],
    arrivals: [],
    leaks: [],
    settles: new Map(),
    get scanned() {
      return scanned;
    },
    open(order) {
      const entry: Entry = { ...order, id: `entry-${ledger.entries.length + 1}`, answers: [] };
      ledger.entries.push(entry);
      return entry;
    },
    bodyOf(entry) {
      const { webhook, ttlSeconds, timeoutSeconds, priority } = entry;
      return JSON.stringify({
        model: 'mnist',
        instances: instancesOf(entry),
        metadata: { entry: entry.id, canary: canaryOf(entry.tenant) },
        webhook,
        ttlSeconds,
        timeoutSeconds,
        priority,
      });
    },
    answered: (entry, answer) => void entry.answers.push(answer),
    saw(view, where) {
      if (TERMINAL.includes(view.status)) ledger.seen.push(seenIn(view, where));
    },
    arrived: (arrival) => void ledger.arrivals.push(arrival),
    scan(text, tenant, where) {
      scanned++;
      for (const found of foreignCanaries(text, tenant)) ledger.leaks.push({ where, found });
    },
  };
  return ledger;
}
