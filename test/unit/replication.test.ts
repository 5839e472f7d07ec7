/** Addresses of sentinels, and waiting for replicas. */
import { EventEmitter } from 'node:events';
import { describe, expect, it } from 'vitest';
import { watchReplicas } from '../../shared/redis/durability.js';
import { sentinelOptions } from '../../shared/redis/primary.js';

describe('sentinelOptions', () => {
  const base = { name: 'jobs' };

  it.each([
    ['redis+sentinel://one/jobs', { ...base, sentinels: [{ host: 'one', port: 26379 }] }],
    [
      'redis+sentinel://one:1,10.0.0.2,[::1]:3/jobs/4',
      {
        ...base,
        db: 4,
        sentinels: [
          { host: 'one', port: 1 },
          { host: '10.0.0.2', port: 26379 },
          { host: '::1', port: 3 },
        ],
      },
    ],
    [
      'rediss+sentinel://app:p%40ss@one:1/jobs?sentinelUsername=watch&sentinelPassword=s%26cret',
      {
        ...base,
        sentinels: [{ host: 'one', port: 1 }],
        username: 'app',
        password: 'p@ss',
        sentinelUsername: 'watch',
        sentinelPassword: 's&cret',
        tls: {},
        enableTLSForSentinelMode: true,
      },
    ],
    [
      'redis+sentinel://:secret@one/jobs',
      { ...base, sentinels: [{ host: 'one', port: 26379 }], password: 'secret' },
    ],
  ])('reads %s', (url, options) => {
    expect(sentinelOptions(url)).toEqual(options);
  });

  it.each([
    'redis://one:6379/0',
    'rediss://one',
    'unix:///run/redis.sock',
    'redis+sentinel://one',
    'redis+sentinel:///jobs',
  ])('leaves %s', (url) => expect(sentinelOptions(url)).toBeNull());
});

describe('watchReplicas', () => {
  function open(replicas: number) {
    const waits: { resolve: (count: number) => void; withinMs: number }[] = [];
    const redis = Object.assign(new EventEmitter(), {
      wait: (_: number, withinMs: number) =>
        new Promise<number>((resolve) => void waits.push({ resolve, withinMs })),
    });
    return { waits, redis, watch: watchReplicas(redis as never, replicas) };
  }

  it('asks nobody where none is to be waited for', async () => {
    const { waits, watch } = open(0);
    await watch()();
    expect(waits).toEqual([]);
  });

  it('has calls that come while one waits share the next wait', async () => {
    const { waits, watch } = open(1);
    const done: string[] = [];
    const call = (name: string) => watch()().then(() => void done.push(name));
    const first = call('first');
    const others = Promise.all([call('second'), call('third')]);
    expect(waits).toHaveLength(1);
    waits[0]?.resolve(1);
    await first;
    expect(done).toEqual(['first']);
    await expect.poll(() => waits.length).toBe(2);
    waits[1]?.resolve(2);
    await others;
    expect(waits).toHaveLength(2);
  });

  it('refuses a call that too few replicas have, and waits shortly until they are back', async () => {
    const { waits, watch } = open(2);
    const call = watch()();
    waits[0]?.resolve(1);
    await expect(call).rejects.toMatchObject({
      code: 'not_replicated',
      status: 503,
      retryAfterSeconds: 1,
      message: expect.stringContaining('1 of 2 replicas'),
    });
    const again = watch()();
    expect(waits.map(({ withinMs }) => withinMs)).toEqual([1000, 10]);
    waits[1]?.resolve(2);
    await again;
    void watch()();
    expect(waits[2]?.withinMs).toBe(1000);
  });

  it('trusts no wait on a connection that was made since the call began', async () => {
    const { waits, redis, watch } = open(1);
    const replication = watch();
    redis.emit('close');
    const call = replication();
    waits[0]?.resolve(1);
    await expect(call).rejects.toMatchObject({ code: 'not_replicated' });
  });
});
