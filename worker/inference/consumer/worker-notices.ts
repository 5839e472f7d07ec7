/**
 * Worker notices: what this worker hears of its jobs and queues, on one connection: which running jobs were canceled elsewhere, and
 * which of its tenures are rung.
 *
 * A cancel that is missed costs computing time and nothing else, because the result of a job that has ended is void. A ring may be
 * missed while the connection is away, so all who listen for one are rung when it is back.
 */
import type { Redis } from '../../../shared/redis/connect.js';

export interface WorkerNotices {
  /** The channel on which this worker is rung. */
  readonly bell: string;
  /** Calls `onCanceled` when the job is canceled, until the returned function is called. */
  onCancel(id: string, onCanceled: () => void): () => void;
  /** Calls `onRung` when the tenure is rung, until the returned function is called. */
  onRing(tenure: string, onRung: () => void): () => void;
}

/**
 * Resolves once notices are heard.
 * @param redis is a connection of its own, because it can only listen from now on.
 */
export async function listenForWorkerNotices(
  redis: Redis,
  channels: { stopped: string; bell: string },
): Promise<WorkerNotices> {
  const { stopped, bell } = channels;
  const cancels = new Map<string, () => void>();
  const rings = new Map<string, () => void>();
  const subscribe = () => redis.subscribe(stopped, bell);

  redis.on('message', (channel, names: string) => {
    const watched = channel === bell ? rings : cancels;
    for (const name of names.split(' ')) watched.get(name)?.();
  });
  redis.on('ready', () => {
    subscribe().then(
      () => {
        for (const ring of rings.values()) ring();
      },
      // The connection is away again; its next return rings everybody.
      () => undefined,
    );
  });
  await subscribe();
  return {
    bell,
    onCancel: (id, act) => watch(cancels, id, act),
    onRing: (tenure, act) => watch(rings, tenure, act),
  };
}

function watch(watched: Map<string, () => void>, name: string, act: () => void): () => void {
  watched.set(name, act);
  return () => {
    // A job that was started here again meanwhile is watched by its new run.
    if (watched.get(name) === act) watched.delete(name);
  };
}
