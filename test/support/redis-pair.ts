/**
 * A primary and its replica, behind an address that leads new connections to the primary.
 */
import { Redis } from 'ioredis';
import { until } from '../faults/until.js';
import { type OwnRedis, openOwnRedis } from './own-redis.js';
import { openProxy } from './proxy.js';

export interface RedisPair extends OwnRedis {
  /** Makes the replica the primary and the other way round. Connections stay open, and no write is lost. */
  failOver(): Promise<void>;
  /** A connection to the present primary. */
  readonly primary: Redis;
  /** The port of the present replica itself. */
  readonly replicaPort: number;
}

const SYNCED_MS = 20_000;
const PAUSE_MS = 5000;
/** A primary would wait for more replicas before it sends its data. */
const AT_ONCE = ['--repl-diskless-sync-delay', '0'];

/** Starts both; `kill`, `restart`, `freeze` and `thaw` are about the first primary. */
export async function openRedisPair(): Promise<RedisPair> {
  const [first, second] = await Promise.all([openOwnRedis(AT_ONCE), openOwnRedis(AT_ONCE)]);
  const way = await openProxy(first.port);
  const nodes = [first, second].map((node) => ({
    port: node.port,
    redis: new Redis(node.url, { connectionName: 'test' }),
  }));
  let [primary, replica] = nodes as [(typeof nodes)[number], (typeof nodes)[number]];

  const info = (redis: Redis) => redis.info('replication');
  const offsetOf = (text: string, field: string) => new RegExp(`^${field}:(\\d+)`, 'm').exec(text)?.[1];
  const isSynced = async () => {
    const [ours, theirs] = await Promise.all([info(primary.redis), info(replica.redis)]);
    if (!theirs.includes('master_link_status:up')) return false;
    return offsetOf(ours, 'master_repl_offset') === offsetOf(theirs, 'slave_repl_offset');
  };
  await replica.redis.replicaof('127.0.0.1', primary.port);
  await until('the replica has the data', SYNCED_MS, isSynced);

  return {
    ...first,
    url: `redis://127.0.0.1:${way.port}`,
    port: way.port,
    get primary() {
      return primary.redis;
    },
    get replicaPort() {
      return replica.port;
    },
    async failOver() {
      await primary.redis.client('PAUSE', PAUSE_MS, 'WRITE');
      await until('the replica has the last write', PAUSE_MS, isSynced);
      await replica.redis.replicaof('NO', 'ONE');
      await primary.redis.replicaof('127.0.0.1', replica.port);
      await primary.redis.client('UNPAUSE');
      [primary, replica] = [replica, primary];
      way.lead(primary.port);
    },
    async close() {
      for (const { redis } of nodes) redis.disconnect();
      await way.close();
      await Promise.all([first.close(), second.close()]);
    },
  };
}
