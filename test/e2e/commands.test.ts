/**
 * The commands of api/commands.md, its own text, against the real API and worker.
 */
import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, inject, it } from 'vitest';
import { answer, openReceiver, type Receiver } from '../support/receiver.js';
import { ROOT, type Stack, startStack } from '../support/stack.js';
import { temporaryFolder } from '../support/started-redis.js';

const folder = temporaryFolder();
let stack: Stack;
let receiver: Receiver;
beforeAll(async () => {
  receiver = await openReceiver(answer(204));
  stack = await startStack(inject('redisUrl'), {
    SLUICE_MODELS: 'mnist',
    SLUICE_BACKEND: 'wasm',
    SLUICE_WEBHOOK_ALLOW_PRIVATE: '127.0.0.0/8',
  });
  await stack.ready();
});
afterAll(async () => {
  await stack.close();
  await receiver.close();
  folder.remove();
});

/** In a place where the key lies as the launcher has it. */
async function run(block: string): Promise<string> {
  symlinkSync(join(ROOT, 'deploy'), join(folder.path, 'deploy'));
  mkdirSync(join(folder.path, '.sluice'));
  writeFileSync(join(folder.path, '.sluice/api-key'), `${stack.key}\n`);
  const script = block
    .replaceAll('http://127.0.0.1:8080', stack.url)
    .replaceAll('http://127.0.0.1:3000/', receiver.url)
    .replaceAll('http:\\/\\/127.0.0.1:3000\\/', receiver.url.replaceAll('/', '\\/'));
  // Each answer on lines of its own, and an end at the first that refuses.
  const strict = 'curl() { command curl --fail-with-body "$@" && echo; }';
  return (
    await promisify(execFile)('bash', ['-eo', 'pipefail', '-c', `${strict}\n${script}`], { cwd: folder.path })
  ).stdout;
}

it('do what is said beside them', async () => {
  const text = readFileSync(join(ROOT, 'api/commands.md'), 'utf8');
  const [, block = ''] = /```sh\n([\s\S]*?)```/.exec(text) ?? [];
  const lines = (await run(block)).split('\n').filter((line) => line.startsWith('{'));
  const answers = lines.map((line) => JSON.parse(line));
  const [job, jobs, bulk, held, batch, told, tested, deliveries, replayed, secret] = answers;
  expect(answers).toHaveLength(10);
  expect(job).toMatchObject({ status: 'succeeded', predictions: [expect.any(Array)] });
  expect(jobs.data[0].id).toBe(job.id);
  expect(bulk.results).toMatchObject([
    { job: { model: { name: 'mnist' } } },
    { job: { model: { name: 'mnist' } } },
  ]);
  expect(held.results).toMatchObject([{ job: { status: 'succeeded' } }, { job: { status: 'succeeded' } }]);
  expect(batch).toMatchObject({ object: 'batch', model: { name: 'mnist', version: 1 } });
  expect(told.status).toBe('queued');
  expect(tested.type).toBe('endpoint.test');
  expect(deliveries.data.map(({ id }: { id: string }) => id)).toContain(tested.id);
  expect(replayed).toMatchObject({ replayed: expect.any(Number) });
  expect(JSON.stringify(secret)).toContain('whsec_');
  await receiver.has(2);
  const ended = async () => (await stack.request('GET', `/v1/batches/${batch.id}`)).body.status;
  await expect.poll(ended, { timeout: 20_000 }).toBe('completed');
});
