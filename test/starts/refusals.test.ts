/**
 * A process that does not find what it needs at its start logs one line that tells what to do.
 */
import { createServer } from 'node:net';
import { afterEach, expect, inject, it } from 'vitest';
import { exited, freePort, type Stack, startStack } from '../support/stack.js';
import { startRedis, temporaryFolder } from '../support/started-redis.js';

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function start(redisUrl: string, env: Record<string, string> = {}, workers = 0): Promise<Stack> {
  const stack = await startStack(redisUrl, env, workers);
  closers.push(() => stack.close());
  return stack;
}

interface Line {
  name: string;
  level: number;
  msg: string;
}

/** The whole ones of its log so far. */
function linesOf(stack: Stack): Line[] {
  const lines = stack.output().split('\n').slice(0, -1);
  return lines.map((line) => JSON.parse(line));
}

it('serves without metrics where another has their port, and says which variable chooses another', async () => {
  const other = createServer();
  const port = await freePort();
  await new Promise<void>((resolve) => other.listen(port, '127.0.0.1', resolve));
  closers.push(() => other.close());
  const stack = await start(inject('redisUrl'), { SLUICE_METRICS_PORT: String(port) });
  await stack.apiReady();
  await expect
    .poll(() => linesOf(stack), { timeout: 10_000 })
    .toMatchObject([
      {
        level: 40,
        why: `listen EADDRINUSE: address already in use 127.0.0.1:${port}`,
        msg: 'metrics are not served: SLUICE_METRICS_HOST and SLUICE_METRICS_PORT choose another address',
      },
    ]);
  expect(stack.output()).not.toContain('"stack"');
});

it('says soon and seldom for which Redis it waits, and serves when that is there', {
  timeout: 60_000,
}, async () => {
  const port = await freePort();
  const stack = await start(`redis://user:hidden@127.0.0.1:${port}`, {}, 1);
  const waiting = () => linesOf(stack).filter(({ msg }) => msg.startsWith('waiting for Redis'));
  await expect.poll(() => waiting().length, { timeout: 10_000 }).toBeGreaterThanOrEqual(4);
  for (const name of ['api', 'worker']) {
    const own = linesOf(stack).filter((line) => line.name === name);
    // After a second and after five.
    expect(own.length).toBeLessThanOrEqual(3);
    for (const { level, msg } of own)
      expect({ level, msg }).toEqual({
        level: 40,
        msg: `waiting for Redis at 127.0.0.1:${port}: connect ECONNREFUSED 127.0.0.1:${port}`,
      });
  }
  expect(stack.output()).not.toMatch(/"stack"|hidden/);

  const folder = temporaryFolder();
  closers.push(folder.remove);
  const redis = await startRedis(folder.path, port, ['--user', 'user', 'on', '>hidden', '~*', '&*', '+@all']);
  closers.push(() => redis.stop());
  await stack.ready();
  expect(stack.output()).not.toContain('hidden');
});

it('does not run where its data folder cannot be', async () => {
  const stack = await start(inject('redisUrl'), { SLUICE_DATA_DIR: '/proc/x' }, 1);
  expect(await Promise.all([stack.api, ...stack.workers].map(exited)), 'EX_CONFIG').toEqual([78, 78]);
  expect(stack.output()).toContain('The folder /proc/x/blobs cannot be made');
  expect(stack.output()).not.toContain('"stack"');
});
