/**
 * Job notices: what a process hears of jobs, on one connection, however many callers watch them.
 *
 * A script that ends or changes a job publishes its id. Of a job that this process waits for from the start it hears alone, and
 * the notice holds the end (told-ends.ts). A notice may be missed while the connection is away, so every watcher is notified
 * when it is back. A watcher that is notified without an end reads the record, which is the truth.
 *
 * A process listens to the notices of all jobs only while somebody watches, because there are many of them.
 */
import type { Clock } from '../../base/clock.js';
import type { Redis } from '../../redis/connect.js';
import { parseToldEnds, type ToldEnd } from './told-ends.js';

export interface JobNotices {
  /** The channel of this process: who submits a job names it, to be told of the job's end. */
  readonly awaited: string;
  /**
   * Calls `notify` when a job that was submitted with this channel has ended, or may have (null), until the returned function
   * is called.
   */
  onAwaitedEnd(id: string, notify: (told: ToldEnd | null) => void): () => void;
  /** Calls `notify` when the job may have ended, until the returned function is called. */
  onEnd(id: string, notify: () => void): () => void;
  /** Calls `notify` when the job may have changed in any way, its end included, until the returned function is called. */
  onChange(id: string, notify: () => void): () => void;
}

export interface JobNoticesDeps {
  /** A connection for this purpose alone, because a subscribed connection takes no other commands. */
  redis: Redis;
  channels: { ended: string; changed: string; awaited: string };
  clock: Clock;
}

type Notify = (told: ToldEnd | null) => void;
type Watchers = Map<string, Set<Notify>>;

/** A process that was watched so lately goes on listening. */
const LISTENS_ON_MS = 10_000;

/** Subscribes to the channel of this process and returns when the subscription stands. */
export async function listenForJobNotices({ redis, channels, clock }: JobNoticesDeps): Promise<JobNotices> {
  const awaited: Watchers = new Map();
  const ends: Watchers = new Map();
  const changes: Watchers = new Map();
  /** Watchers whom the notices of all jobs concern, by channel. */
  const concerned: Record<string, Watchers[]> = {
    [channels.ended]: [ends, changes],
    [channels.changed]: [changes],
  };
  /** Channels that are listened to, and how long they are at least. */
  const heardUntil = new Map<string, number>();

  /** Notifies those who watched before the subscription stood, because they may have missed something. */
  function subscribe(channel: string): void {
    redis.subscribe(channel).then(
      () => {
        for (const watchers of concerned[channel] ?? [awaited]) callAll(watchers);
      },
      // The connection is away; its next return notifies everybody.
      () => undefined,
    );
  }

  function listen(channel: string): void {
    const isNew = !heardUntil.has(channel);
    heardUntil.set(channel, clock.monotonic() + LISTENS_ON_MS);
    if (isNew) subscribe(channel);
  }

  function listenNoMore(channel: string): void {
    if (clock.monotonic() < (heardUntil.get(channel) ?? 0)) return;
    heardUntil.delete(channel);
    redis.unsubscribe(channel).catch(() => undefined);
  }

  redis.on('messageBuffer', (name: Buffer, message: Buffer) => {
    const channel = name.toString();
    if (channel === channels.awaited) return tellAwaited(message);
    const watchers = (concerned[channel] ?? []).filter(({ size }) => size > 0);
    if (watchers.length === 0) return listenNoMore(channel);
    const ids = message.toString().split(' ');
    for (const each of watchers) for (const id of ids) call(each.get(id), null);
  });

  function tellAwaited(message: Buffer): void {
    for (const { id, told } of parseToldEnds(message)) call(awaited.get(id), told);
  }

  redis.on('ready', () => {
    // ioredis subscribes again by itself. The reply to this tells that it has done so, and that nothing is missed from now on.
    for (const channel of [channels.awaited, ...heardUntil.keys()]) subscribe(channel);
  });
  await redis.subscribe(channels.awaited);

  return {
    awaited: channels.awaited,
    onAwaitedEnd: (id, notify) => watch(awaited, id, notify),
    onEnd(id, notify) {
      listen(channels.ended);
      return watch(ends, id, notify);
    },
    onChange(id, notify) {
      listen(channels.ended);
      listen(channels.changed);
      return watch(changes, id, notify);
    },
  };
}

function call(notifies: ReadonlySet<Notify> | undefined, told: ToldEnd | null): void {
  for (const notify of notifies ?? []) notify(told);
}

function callAll(watchers: Watchers): void {
  for (const each of watchers.values()) call(each, null);
}

function watch(watchers: Watchers, id: string, notify: Notify): () => void {
  const notifies = watchers.get(id) ?? new Set();
  watchers.set(id, notifies.add(notify));
  return () => {
    if (notifies.delete(notify) && notifies.size === 0) watchers.delete(id);
  };
}
