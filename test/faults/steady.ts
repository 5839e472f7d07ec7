/**
 * A steady load of small jobs, each under a key of its own and asked for until its answer is known.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import type { Answer } from './evidence.js';
import { type Room, TENANTS } from './room.js';

export interface Steady {
  /** Jobs accepted so far, in the order of their answers. */
  accepted: string[];
  /** Every answer so far, the unknown ones too. */
  answers(): Answer[];
  /** Resolves when every client has its answer. */
  stop(): Promise<void>;
}

const CLIENTS = 4;
const PAUSE_MS = 20;
/** Longer than any fault of a test. */
const INSIST_MS = 60_000;

export function startSteady(room: Room): Steady {
  const { client, ledger, api } = room;
  const accepted: string[] = [];
  let isOver = false;

  async function submitOn(): Promise<void> {
    while (!isOver) {
      const nth = ledger.entries.length;
      const entry = ledger.open({ tenant: TENANTS[0], digits: [nth % 10], key: randomUUID() });
      const answer = await client.insist(entry, () => api, INSIST_MS);
      if (answer.is === 'accepted') accepted.push(answer.job);
      await pause(PAUSE_MS);
    }
  }

  const clients = Promise.all(Array.from({ length: CLIENTS }, submitOn));
  // Told by `stop`; until then it must not end the test.
  clients.catch(() => {});
  return {
    accepted,
    answers: () => ledger.entries.flatMap(({ answers }) => answers),
    async stop() {
      isOver = true;
      await clients;
    },
  };
}
