/**
 * Notices of running jobs that were canceled elsewhere. One that is missed costs computing time, nothing else: the result
 * of a job that has ended is void.
 */
import type { Redis } from '../../../shared/redis/connect.js';

export interface Stops {
  /** Calls `stop` when the job is canceled, until the returned function is called. */
  watch(id: string, stop: () => void): () => void;
}

/** `redis`: a connection of its own, it will only listen. */
export async function listenForStops(redis: Redis, channel: string): Promise<Stops> {
  const watched = new Map<string, () => void>();
  redis.on('message', (_, ids: string) => {
    for (const id of ids.split(' ')) watched.get(id)?.();
  });
  await redis.subscribe(channel);
  return {
    watch(id, stop) {
      watched.set(id, stop);
      return () => {
        // Started again here meanwhile, it is somebody else's.
        if (watched.get(id) === stop) watched.delete(id);
      };
    },
  };
}
