/**
 * Worker notices: what this worker hears of its jobs and queues, on one connection: which running jobs were canceled elsewhere, which
 * of its tenures are rung, and which jobs are sent to them.
 *
 * A cancel that is missed costs computing time and nothing else, because the result of a job that has ended is void. A ring may be
 * missed while the connection is away, so all who listen for one are rung when it is back; the turn that follows tells of a job that
 * was sent meanwhile, and was missed, too.
 */
import { parseRing, type SentJob } from '../../../shared/core/jobs/sent-jobs.js';
import type { Redis } from '../../../shared/redis/connect.js';

export interface WorkerNotices {
  /** The channel on which this worker is rung. */
  readonly bell: string;
  /** Calls `onCanceled` when the job is canceled, until the returned function is called. */
  onCancel(id: string, onCanceled: () => void): () => void;
  /** Calls `onRung` when the tenure is rung or a job is sent to it, until the returned function is called. */
  onRing(tenure: string, onRung: (sent?: SentJob) => void): () => void;
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
  const rings = new Map<string, (sent?: SentJob) => void>();
  const subscribe = () => redis.subscribe(stopped, bell);

  redis.on('messageBuffer', (channel: Buffer, message: Buffer) => {
    if (channel.toString() === bell) {
      const { tenure, sent } = parseRing(message);
      rings.get(tenure)?.(sent);
    } else {
      for (const id of message.toString().split(' ')) cancels.get(id)?.();
    }
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

function watch<Act>(watched: Map<string, Act>, name: string, act: Act): () => void {
  watched.set(name, act);
  return () => {
    // A job that was started here again meanwhile is watched by its new run.
    if (watched.get(name) === act) watched.delete(name);
  };
}
