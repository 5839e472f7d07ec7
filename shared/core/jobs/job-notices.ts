/**
 * Job notices: what a process hears of jobs, on one connection, however many callers watch them.
 *
 * A script that ends or changes a job publishes its id and nothing else. A notice may be missed while the connection is away,
 * so every watcher is notified when the connection is back. A watcher that is notified reads the record, which is the truth.
 */
import type { Redis } from '../../redis/connect.js';

export interface JobNotices {
  /** Calls `notify` when the job may have ended, until the returned function is called. */
  onEnd(id: string, notify: () => void): () => void;
  /** Calls `notify` when the job may have changed in any way, its end included, until the returned function is called. */
  onChange(id: string, notify: () => void): () => void;
}

export interface JobNoticesDeps {
  /** A connection for this purpose alone, because a subscribed connection takes no other commands. */
  redis: Redis;
  channels: { ended: string; changed: string };
}

type Watchers = Map<string, Set<() => void>>;

/** Subscribes to both channels and returns when the subscription stands. */
export async function listenForJobNotices({ redis, channels }: JobNoticesDeps): Promise<JobNotices> {
  const ends: Watchers = new Map();
  const changes: Watchers = new Map();
  const subscribe = () => redis.subscribe(channels.ended, channels.changed);

  redis.on('message', (channel, ids: string) => {
    const concerned = channel === channels.ended ? [ends, changes] : [changes];
    for (const watchers of concerned.filter(({ size }) => size > 0)) {
      for (const id of ids.split(' ')) call(watchers.get(id));
    }
  });
  redis.on('ready', () => {
    // ioredis subscribes again by itself. This reply tells that it has done so, and that nothing is missed from now on.
    subscribe().then(
      () => {
        for (const watchers of [ends, changes]) for (const each of watchers.values()) call(each);
      },
      // The connection is away again; its next return notifies everybody.
      () => undefined,
    );
  });
  await subscribe();

  return {
    onEnd: (id, notify) => watch(ends, id, notify),
    onChange: (id, notify) => watch(changes, id, notify),
  };
}

function call(notifies: ReadonlySet<() => void> | undefined): void {
  for (const notify of notifies ?? []) notify();
}

function watch(watchers: Watchers, id: string, notify: () => void): () => void {
  const notifies = watchers.get(id) ?? new Set();
  watchers.set(id, notifies.add(notify));
  return () => {
    if (notifies.delete(notify) && notifies.size === 0) watchers.delete(id);
  };
}
