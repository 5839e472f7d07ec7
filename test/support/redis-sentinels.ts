/**
 * A primary, two replicas, and three sentinels that fail over between them: real ones, of the same program.
 */
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { findRedisProgram } from '../../deploy/local/redis/find-redis.js';
import { freePort } from '../../deploy/local/redis/redis.js';
import type { RedisProgram } from '../../deploy/local/redis/redis-program.js';
import { loadConfig } from '../../shared/contract/config.js';
import { until } from '../faults/until.js';
import { type OwnRedis, openOwnRedis } from './own-redis.js';
import { openProxy } from './proxy.js';
import { temporaryFolder } from './started-redis.js';

export interface SentinelSet extends OwnRedis {
  /** The address that names the sentinels; `url` leads to the present primary, for the tests alone. */
  sentinelUrl: string;
  /**
   * Kills the primary; resolves when the sentinels have promoted a replica, and the others are replicas of that one, the killed one, too.
   */
  failOver(): Promise<void>;
  killReplicas(): Promise<void>;
}

const NAME = 'jobs';
const NODES = 3;
const SENTINELS = 3;
/** A primary that is silent for so long is taken for dead. */
const DOWN_AFTER_MS = 1000;
const PROMOTED_MS = 30_000;
/** Sentinels begin another failover twice this time after the last one at the earliest. */
const FAILOVER_MS = 3000;
/** Sentinels look at a node that comes back every ten seconds, and may wait twice. */
const SYNCED_MS = 60_000;
/** A primary would wait for more replicas before it sends its data. */
const AT_ONCE = ['--repl-diskless-sync-delay', '0'];

/** Starts them. */
export async function openSentinelSet(): Promise<SentinelSet> {
  const folder = temporaryFolder();
  const nodes = await Promise.all(Array.from({ length: NODES }, () => openOwnRedis(AT_ONCE)));
  let [primary] = nodes as [OwnRedis];
  const replicas = () => nodes.filter((node) => node !== primary);
  const areSynced = async () =>
    (await Promise.all(replicas().map((each) => isReplicaOf(each, primary)))).every(Boolean);
  for (const each of replicas()) await ask(each, (redis) => redis.replicaof('127.0.0.1', primary.port));
  await until('the replicas have the data', SYNCED_MS, areSynced);

  const program = await findRedisProgram({ cacheDir: loadConfig().SLUICE_CACHE_DIR, tell: () => undefined });
  const sentinels = await Promise.all(
    Array.from({ length: SENTINELS }, () => startSentinel(program, folder.path, primary.port)),
  );
  const [first] = sentinels as [Sentinel];
  await until('the sentinels know each other and the replicas', SYNCED_MS, async () => {
    const state = await first.primary();
    return (
      state['num-other-sentinels'] === String(SENTINELS - 1) && state['num-slaves'] === String(NODES - 1)
    );
  });
  const way = await openProxy(primary.port);

  return {
    ...primary,
    url: `redis://127.0.0.1:${way.port}`,
    port: way.port,
    sentinelUrl: `redis+sentinel://${sentinels.map(({ port }) => `127.0.0.1:${port}`).join(',')}/${NAME}`,
    async failOver() {
      const killed = primary;
      await killed.kill();
      way.cut();
      primary = await until('a replica is promoted', PROMOTED_MS, async () => {
        const { port } = await first.primary();
        const promoted = replicas().find((each) => String(each.port) === port);
        return promoted && /role:master/.test(await replicationOf(promoted)) ? promoted : null;
      });
      way.lead(primary.port);
      await killed.restart(AT_ONCE);
      await until('the others have the data', SYNCED_MS, areSynced);
    },
    async killReplicas() {
      await Promise.all(replicas().map((each) => each.kill()));
    },
    async close() {
      for (const sentinel of sentinels) sentinel.end();
      await way.close();
      await Promise.all(nodes.map((node) => node.close()));
      folder.remove();
    },
  };
}

interface Sentinel {
  port: number;
  /** Returns what it knows of the primary. */
  primary(): Promise<Record<string, string>>;
  end(): void;
}

async function startSentinel(program: RedisProgram, folder: string, primaryPort: number): Promise<Sentinel> {
  const port = await freePort();
  const file = join(folder, `sentinel-${port}.conf`);
  const settings = [
    `sentinel monitor ${NAME} 127.0.0.1 ${primaryPort} 2`,
    `sentinel down-after-milliseconds ${NAME} ${DOWN_AFTER_MS}`,
    `sentinel failover-timeout ${NAME} ${FAILOVER_MS}`,
  ];
  writeFileSync(file, `${settings.join('\n')}\n`);
  const { command, args } = program.command({ dir: folder, port, redis: ['--sentinel'] });
  const env = { ...process.env, ...program.environment };
  const child = spawn(command, [file, ...args], { cwd: folder, env, stdio: 'ignore' });
  const redis = new Redis(port, '127.0.0.1', { retryStrategy: () => 100, maxRetriesPerRequest: null });
  redis.on('error', () => {}); // It is starting.
  await redis.ping();
  return {
    port,
    async primary() {
      const values = (await redis.call('SENTINEL', 'MASTER', NAME)) as string[];
      const state: Record<string, string> = {};
      for (let i = 0; i < values.length; i += 2) state[String(values[i])] = String(values[i + 1]);
      return state;
    },
    end() {
      redis.disconnect();
      child.kill('SIGKILL');
    },
  };
}

async function ask<T>(node: OwnRedis, act: (redis: Redis) => Promise<T>): Promise<T> {
  const redis = new Redis(node.url, { connectionName: 'test' });
  redis.on('error', () => {}); // It may be killed meanwhile.
  try {
    return await act(redis);
  } finally {
    redis.disconnect();
  }
}

const replicationOf = (node: OwnRedis) => ask(node, (redis) => redis.info('replication'));

async function isReplicaOf(node: OwnRedis, primary: OwnRedis): Promise<boolean> {
  const pattern = new RegExp(
    `role:slave[\\s\\S]*master_port:${primary.port}\\s[\\s\\S]*master_link_status:up`,
  );
  return pattern.test(await replicationOf(node));
}
