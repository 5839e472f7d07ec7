/**
 * Cancel notices: which running jobs were canceled elsewhere.
 *
 * A notice that is missed costs computing time and nothing else, because the result of a job that has ended is void.
 */
import type { Redis } from '../../../shared/redis/connect.js';

export interface CancelNotices {
  /** Calls `onCanceled` when the job is canceled, until the returned function is called. */
  watch(id: string, onCanceled: () => void): () => void;
}

/**
 * Resolves once notices are heard.
 * @param redis is a connection of its own, because it can only listen from now on.
 */
export async function listenForCancelNotices(redis: Redis, channel: string): Promise<CancelNotices> {
  const watched = new Map<string, () => void>();
  redis.on('message', (_, ids: string) => {
    for (const id of ids.split(' ')) watched.get(id)?.();
  });
  await redis.subscribe(channel);
  return {
    watch(id, onCanceled) {
      watched.set(id, onCanceled);
      return () => {
        // A job that was started here again meanwhile is watched by its new run.
        if (watched.get(id) === onCanceled) watched.delete(id);
      };
    },
  };
}
