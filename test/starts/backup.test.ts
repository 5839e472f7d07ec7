/**
 * Backup and restore: the commands of the guide, on a Sluice that works meanwhile.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type OwnRedis, openOwnRedis } from '../support/own-redis.js';
import { freePort, ROOT, type Stack, startStack } from '../support/stack.js';
import { startRedis, temporaryFolder } from '../support/started-redis.js';
import { denseByHand, writeDense } from '../support/tiny-models.js';
import { uploadVersion } from '../support/uploads.js';

const isThere = ['redis-cli', 'redis-server'].every((name) => spawnSync(name, ['--version']).status === 0);
if (!isThere) console.warn('SKIPPED: no redis-cli and redis-server on the PATH, so no backup is tried.');
const BOUND = { timeout: 60_000, interval: 200 };
/** Its input lies in a blob. */
const ROWS = 5000;
const WAITING = 5;
const ENV = { SLUICE_MAX_INSTANCES: String(ROWS) };

const [, backUp = '', restore = ''] = readFileSync(join(ROOT, 'deploy/guides/back-up.md'), 'utf8').split(
  '```sh\n',
);
const run = (block: string, env: Record<string, string>) =>
  execFileSync('bash', ['-euo', 'pipefail', '-c', block.split('```')[0] ?? ''], {
    env: { ...process.env, ...env },
    stdio: 'pipe',
  });

describe.skipIf(!isThere)('a backup that is restored elsewhere', () => {
  const folder = temporaryFolder();
  const at = (name: string) => join(folder.path, name);
  const instances = (first: number, count = 1) => Array.from({ length: count }, (_, i) => [first, i, 1]);
  let redis: OwnRedis;
  let stack: Stack | undefined;
  let restored: Awaited<ReturnType<typeof startRedis>> | undefined;

  beforeAll(async () => {
    redis = await openOwnRedis();
    for (const name of ['data', 'restored']) mkdirSync(at(name));
    stack = await startStack(redis.url, { ...ENV, SLUICE_DATA_DIR: at('data') });
    await stack.ready();
    await uploadVersion(stack, 'dense', writeDense(folder.path));
  });
  afterAll(async () => {
    await stack?.close();
    await restored?.stop();
    await redis.close();
    folder.remove();
  });

  const submit = async (on: Stack, first: number, count = 1) =>
    (await on.request('POST', '/v1/jobs', { model: 'dense', instances: instances(first, count) })).body.id;
  const viewOf = async (on: Stack, id: string) => (await on.request('GET', `/v1/jobs/${id}`)).body;
  const succeeded = (on: Stack, id: string) =>
    expect.poll(async () => (await viewOf(on, id)).status, BOUND).toBe('succeeded');

  it('has every result, the uploaded model, and the jobs that waited, which it computes', async () => {
    if (!stack) throw new Error('Nothing runs.');
    const first = stack;
    await expect
      .poll(async () => (await first.request('GET', '/v1/models/dense/versions/1')).body.state, BOUND)
      .toBe('ready');
    const done = await Promise.all([submit(first, 1), submit(first, 2, ROWS)]);
    for (const id of done) await succeeded(first, id);
    const before = await Promise.all(done.map((id) => viewOf(first, id)));
    await first.request('POST', '/v1/queues/dense/pause');
    const waiting = await Promise.all(Array.from({ length: WAITING }, (_, i) => submit(first, 10 + i, ROWS)));

    const common = { BACKUP: at('backup'), REDIS_URL: redis.url };
    run(backUp, { ...common, SLUICE_DATA_DIR: at('data') });
    const late = await submit(first, 99);

    const { key, prefix } = first;
    await first.close();
    await redis.kill();
    rmSync(at('data'), { recursive: true });
    stack = undefined;
    run(restore, {
      ...common,
      SLUICE_DATA_DIR: at('restored'),
      REDIS_DIR: at('new/redis'),
      RESTORE_PORT: String(await freePort()),
    });
    restored = await startRedis(at('new'));
    stack = await startStack(restored.url, {
      ...ENV,
      SLUICE_DATA_DIR: at('restored'),
      SLUICE_KEY_PREFIX: prefix,
      SLUICE_BOOTSTRAP_KEY: key,
    });
    const second = stack;
    const ask: Stack['request'] = (method, path, body) =>
      second.request(method, path, body, { authorization: `Bearer ${key}` });
    const again = { ...second, request: ask };
    await expect
      .poll(
        () =>
          ask('GET', '/v1/models/dense').then(
            ({ status }) => status,
            () => 0,
          ),
        BOUND,
      )
      .toBe(200);

    expect(await Promise.all(done.map((id) => viewOf(again, id)))).toEqual(before);
    expect((await ask('GET', `/v1/jobs/${late}`)).status).toBe(404);
    await ask('POST', '/v1/queues/dense/resume');
    for (const [i, id] of waiting.entries()) {
      await succeeded(again, id);
      const { predictions } = await viewOf(again, id);
      expect(predictions).toHaveLength(ROWS);
      expect(predictions[0]).toEqual(denseByHand([10 + i, 0, 1]));
    }
  });
});
