/**
 * Commands against the real API and worker: those of api/commands.md, its own text, and `sluice listen`, of which nothing stays
 * behind.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, expect, inject, it } from 'vitest';
import { verifyWebhook } from '../../shared/client/webhooks.js';
import { answer, openReceiver, type Receiver } from '../support/receiver.js';
import { exited, ROOT, type Stack, startStack } from '../support/stack.js';
import { temporaryFolder } from '../support/started-redis.js';

const folder = temporaryFolder();
let stack: Stack;
let receiver: Receiver;
let command: ChildProcess | undefined;
let printed = '';
let noted = '';
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
afterEach(async () => {
  command?.kill('SIGKILL');
  if (command) await exited(command);
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

async function listen(...args: string[]): Promise<void> {
  printed = '';
  noted = '';
  command = spawn(
    process.execPath,
    ['dist/api/cli/main.js', 'listen', '--url', stack.url, '--key', stack.key, ...args],
    { cwd: ROOT, env: { ...process.env, SLUICE_DATA_DIR: stack.dataDir } },
  );
  command.stdout?.on('data', (text) => (printed += text));
  command.stderr?.on('data', (text) => (noted += text));
  await expect.poll(() => noted, { timeout: 20_000 }).toContain('Listening on');
}

async function stop(): Promise<number | null> {
  command?.kill('SIGINT');
  return exited(command as ChildProcess);
}

async function submit(): Promise<string> {
  const example = JSON.parse(readFileSync(join(ROOT, 'deploy/models/mnist/examples/7.json'), 'utf8'));
  const { status, body } = await stack.request('POST', '/v1/jobs', example);
  expect(status).toBe(202);
  return body.id;
}

const endpoints = async () => (await stack.request('GET', '/v1/webhook-endpoints')).body.data;

it('sluice listen prints the ends of jobs and leaves no endpoint behind', async () => {
  await listen();
  const [endpoint] = await endpoints();
  expect(endpoint).toMatchObject({ description: 'sluice listen', enabled: true });
  expect(noted).toContain(endpoint.id);
  const ids = [await submit(), await submit()];
  for (const id of ids)
    await expect
      .poll(() => printed, { timeout: 20_000 })
      .toMatch(new RegExp(`Z {2}job\\.succeeded {2}${id} {2}\\w+\n`));
  expect((await stack.request('POST', `/v1/webhook-endpoints/${endpoint.id}/test`)).status).toBe(202);
  await expect.poll(() => printed, { timeout: 20_000 }).toContain('endpoint.test');
  expect(await stop()).toBe(0);
  expect(await endpoints()).toEqual([]);
  expect(noted).not.toContain('NOT VERIFIED');
});

it('sluice listen prints predictions where it asks for them, and passes on what an application can verify', async () => {
  const application = await openReceiver(answer(204));
  try {
    await listen(
      '--json',
      '--include-predictions',
      '--events',
      'job.succeeded',
      '--forward',
      application.url,
    );
    const id = await submit();
    await expect.poll(() => printed, { timeout: 20_000 }).toContain('\n');
    const event = JSON.parse(printed.split('\n')[0] as string);
    expect(event).toMatchObject({ type: 'job.succeeded', repeated: false, forwarded: 204, data: { id } });
    const [digit] = event.data.predictions as number[][];
    expect(digit?.indexOf(Math.max(...digit))).toBe(7);
    const [{ headers, body }] = application.received as [{ headers: Record<string, string>; body: string }];
    expect(headers['webhook-id']).toBe(event.webhookId);
    const secret = /whsec_\S+/.exec(noted)?.[0] ?? '';
    expect(verifyWebhook({ headers, body, secret })).toMatchObject({ type: 'job.succeeded', data: { id } });
    expect(await stop()).toBe(0);
  } finally {
    await application.close();
  }
});

it('the commands of the page do what is said beside them', async () => {
  const text = readFileSync(join(ROOT, 'api/commands.md'), 'utf8');
  const [, block = ''] = /```sh\n([\s\S]*?)```/.exec(text) ?? [];
  const lines = (await run(block)).split('\n').filter((line) => line.startsWith('{'));
  const answers = lines.map((line) => JSON.parse(line));
  const [signed, job, jobs, bulk, held, batch, told, tested, deliveries, replayed, secret] = answers;
  expect(answers).toHaveLength(11);
  expect(signed.url).toMatch(/^\/v1\/jobs\/job_\w+\/events\?expires=\d+&signature=/);
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
