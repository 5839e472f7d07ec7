/**
 * What is left of a model: its files on disk, and the keys in Redis that name it.
 */
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Redis } from '../../shared/redis/connect.js';

/** Returns the files below some folders with their bytes, as `<path> <bytes>`, sorted; a folder that is missing has none. */
export function filesBelow(...folders: string[]): string[] {
  return folders
    .flatMap((folder) => {
      try {
        return readdirSync(folder, { recursive: true, withFileTypes: true });
      } catch {
        return [];
      }
    })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .map((path) => `${path} ${statSync(path, { throwIfNoEntry: false })?.size}`)
    .sort();
}

/** Returns the keys under `prefix` whose name or content holds `text`, without the prefix, sorted. */
export async function keysThatName(redis: Redis, prefix: string, text: string): Promise<string[]> {
  // BullMQ keeps the check for some seconds after a worker has looked.
  const keys = (await redis.keys(`${prefix}:*`)).filter((key) => !key.endsWith(':stalled-check'));
  const names = await Promise.all(
    keys.map(async (key) => key.includes(text) || (await contentOf(redis, key)).includes(text)),
  );
  return keys
    .filter((_, index) => names[index])
    .map((key) => key.slice(prefix.length + 1))
    .sort();
}

async function contentOf(redis: Redis, key: string): Promise<string> {
  const readers: Record<string, () => Promise<unknown>> = {
    string: () => redis.get(key),
    hash: () => redis.hgetall(key),
    set: () => redis.smembers(key),
    zset: () => redis.zrange(key, 0, '-1'),
    list: () => redis.lrange(key, 0, '-1'),
    stream: () => redis.xrange(key, '-', '+'),
  };
  return JSON.stringify((await readers[await redis.type(key)]?.()) ?? '');
}
