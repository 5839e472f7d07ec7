/**
 * Keeps a connection on the primary, through failovers that leave old connections open.
 *
 * A node that has become a replica refuses writes and goes on to answer reads, perhaps old ones. So a connection leaves it
 * as soon as it refuses a command, and within `LOOK_EVERY_MS` if it refuses none. A connection to a replica never becomes
 * ready: it is made anew until the address leads to the primary.
 *
 * Sentinels say where the primary is when `REDIS_URL` names them. The client's own detector of failovers is left off: it ends a connection
 * for ever when it hears of one while that is being made.
 *
 * A command that was refused for that reason did nothing. It is sent again on the next connection, those of a pipeline too;
 * a MULTI fails as a whole.
 */
import type { Redis, RedisOptions } from 'ioredis';
import type * as standalone from 'ioredis/built/connectors/StandaloneConnector.js';
import type { Clock } from '../base/clock.js';
import { requirePackage } from '../base/packages.js';

// ioredis does not export it, and loaders of modules differ in what an import of it gives.
const loaded: typeof standalone.default = requirePackage('ioredis/built/connectors/StandaloneConnector.js');
const StandaloneConnector = loaded.default;

const LOOK_EVERY_MS = 1000;
/** Redis 6 puts the refusal of a script's write into a longer text. UNBLOCKED ends a read that waited on a node that is demoted. */
const REFUSED = /\b(READONLY|MASTERDOWN|UNBLOCKED)\b/;
const SEND_AGAIN = 2;

/** `rediss+sentinel://user:password@one:26379,two:26379/name/0?sentinelUsername=…&sentinelPassword=…` */
const SENTINELS =
  /^(?<scheme>rediss?)\+sentinel:\/\/(?:(?<user>[^:@/]*)(?::(?<password>[^@/]*))?@)?(?<hosts>[^/?@]+)\/(?<name>[^/?]+)(?:\/(?<db>\d+))?\/?(?:\?(?<query>.*))?$/;
const SENTINEL_PORT = 26379;

/**
 * Returns the options of a connection that asks sentinels for the primary; null when the URL is that of one server.
 *
 * The host of a sentinel is a name, an IPv4 address, or an IPv6 address in brackets.
 */
export function sentinelOptions(url: string): Omit<RedisOptions, 'replyMapping'> | null {
  const { scheme, user, password, hosts, name, db, query } = SENTINELS.exec(url)?.groups ?? {};
  if (!hosts || !name) return null;
  const params = new URLSearchParams(query);
  const [sentinelUsername, sentinelPassword] = [
    params.get('sentinelUsername'),
    params.get('sentinelPassword'),
  ];
  return {
    sentinels: hosts.split(',').map(sentinelAt),
    name: decodeURIComponent(name),
    ...(db && { db: Number(db) }),
    ...(user && { username: decodeURIComponent(user) }),
    ...(password && { password: decodeURIComponent(password) }),
    ...(sentinelUsername && { sentinelUsername }),
    ...(sentinelPassword && { sentinelPassword }),
    ...(scheme === 'rediss' && { tls: {}, enableTLSForSentinelMode: true }),
  };
}

function sentinelAt(host: string): { host: string; port: number } {
  const [, inBrackets, plain, port] = /^(?:\[(.*)\]|([^:]*))(?::(\d+))?$/.exec(host) ?? [];
  return { host: inBrackets ?? plain ?? host, port: Number(port ?? SENTINEL_PORT) };
}

/** Returns the options of a connection that accepts only a primary; `onReplica` hears of each replica that it turns away from. */
export function primaryOptions(onReplica: () => void) {
  class PrimaryConnector extends StandaloneConnector {
    override check(info: { role?: string }): boolean {
      const isPrimary = info.role !== 'slave';
      if (!isPrimary) onReplica();
      return isPrimary;
    }
  }
  return { Connector: PrimaryConnector as NonNullable<RedisOptions['Connector']> } satisfies RedisOptions;
}

/** Sends a command again on the next connection when a replica refused it. */
export const reconnectOnRefusal: NonNullable<RedisOptions['reconnectOnError']> = ({ message }) =>
  REFUSED.test(message) ? SEND_AGAIN : false;

/**
 * Makes the connection, and each copy of it, anew when its node has become a replica without refusing anything, as it does where
 * nobody writes: a worker that holds a ticket blocks on no read meanwhile.
 */
export function leaveReplicas(redis: Redis, clock: Clock): void {
  const duplicate = redis.duplicate.bind(redis);
  redis.duplicate = (override) => {
    const copy = duplicate(override);
    leaveReplicas(copy, clock);
    return copy;
  };
  let isLooking = false;
  async function look(): Promise<void> {
    if (isLooking || redis.status !== 'ready') return;
    isLooking = true;
    // A connection that is lost meanwhile is made anew anyway.
    const info = await redis.info('replication').catch(() => '');
    isLooking = false;
    if (/^role:slave/m.test(info)) redis.disconnect(true);
  }
  const stop = clock.every(LOOK_EVERY_MS, () => void look());
  redis.once('end', stop);
}
