/**
 * Notices: what this process hears of jobs, on one connection, however many callers care.
 *
 * Whoever ends or changes a job publishes its id, nothing else. A notice may be missed while the connection is away, so
 * its return notifies everybody; whoever is notified reads the record, which alone is the truth.
 */
import type { Redis } from '../../redis/connect.js';

export interface JobNotices {
  /** Calls `notify` when the job may have ended, until the returned function is called. */
  onEnd(id: string, notify: () => void): () => void;
  /** The same when it may have changed in any way, its end included. */
  onChange(id: string, notify: () => void): () => void;
}

export interface JobNoticesDeps {
  /** A connection of its own: it will only listen. */
  redis: Redis;
  channels: { ended: string; changed: string };
}

type Watchers = Map<string, Set<() => void>>;

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
    // ioredis subscribes again by itself; this answer says that it has been done, and nothing is missed from now on.
    subscribe().then(
      () => {
        for (const watchers of [ends, changes]) for (const each of watchers.values()) call(each);
      },
      () => undefined, // Away again: the next return does it.
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
