/**
 * Announces this worker to the other processes from its start to its end: its roles, and what it computes with.
 */
import { hostname } from 'node:os';
import { type Clock, toTimestamp } from '../shared/base/clock.js';
import { VERSION } from '../shared/base/version.js';
import { newId } from '../shared/contract/ids.js';
import { ANNOUNCE_MS, type Computing, type Workers } from '../shared/core/workers/workers.js';

export interface AnnounceDeps {
  workers: Workers;
  roles: string[];
  /** Reads what the worker computes with now. */
  computing: () => Computing;
  clock: Clock;
  onError: (kind: string, error: unknown) => void;
}

/**
 * Announces the worker now and every `ANNOUNCE_MS`. `close` removes the announcement; if Redis does not respond, it expires by
 * itself.
 */
export function startAnnouncing({ workers, roles, computing, clock, onError }: AnnounceDeps): {
  close(): Promise<void>;
} {
  const about = {
    id: newId('wrk', clock.now()),
    host: hostname(),
    pid: process.pid,
    software: VERSION,
    roles,
    startedAt: toTimestamp(clock.now()),
  };
  const announce = () => {
    const facts = { ...about, ...computing() };
    workers.announce(facts).catch((error: unknown) => onError('announcement', error));
  };
  announce();
  const stop = clock.every(ANNOUNCE_MS, announce);
  return {
    async close() {
      stop();
      await workers.leave(about.id).catch(() => undefined);
    },
  };
}
