/**
 * `sluice listen` with the real API and worker: what it prints is what was told, and nothing of it stays behind.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, inject, it } from 'vitest';
import { verifyWebhook } from '../../shared/client/webhooks.js';
import { answer, openReceiver } from '../support/receiver.js';
import { exited, ROOT, type Stack, startStack } from '../support/stack.js';

let stack: Stack;
let command: ChildProcess | undefined;
let printed = '';
let told = '';

beforeAll(async () => {
  stack = await startStack(inject('redisUrl'));
  await stack.ready();
});
afterAll(() => stack.close());
afterEach(async () => {
  command?.kill('SIGKILL');
  if (command) await exited(command);
});

async function listen(...args: string[]): Promise<void> {
  printed = '';
  told = '';
  command = spawn(
    process.execPath,
    ['dist/api/cli/main.js', 'listen', '--url', stack.url, '--key', stack.key, ...args],
    { cwd: ROOT, env: { ...process.env, SLUICE_DATA_DIR: stack.dataDir } },
  );
  command.stdout?.on('data', (text) => (printed += text));
  command.stderr?.on('data', (text) => (told += text));
  await expect.poll(() => told, { timeout: 20_000 }).toContain('Listening on');
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

it('prints the ends of jobs and leaves no endpoint behind', async () => {
  await listen();
  const [endpoint] = await endpoints();
  expect(endpoint).toMatchObject({ description: 'sluice listen', enabled: true });
  expect(told).toContain(endpoint.id);
  const ids = [await submit(), await submit()];
  for (const id of ids)
    await expect
      .poll(() => printed, { timeout: 20_000 })
      .toMatch(new RegExp(`Z {2}job\\.succeeded {2}${id} {2}\\w+\n`));
  expect((await stack.request('POST', `/v1/webhook-endpoints/${endpoint.id}/test`)).status).toBe(202);
  await expect.poll(() => printed, { timeout: 20_000 }).toContain('endpoint.test');
  expect(await stop()).toBe(0);
  expect(await endpoints()).toEqual([]);
  expect(told).not.toContain('NOT VERIFIED');
});

it('prints predictions where it asks for them, and passes on what an application can verify', async () => {
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
    const secret = /whsec_\S+/.exec(told)?.[0] ?? '';
    expect(verifyWebhook({ headers, body, secret })).toMatchObject({ type: 'job.succeeded', data: { id } });
    expect(await stop()).toBe(0);
  } finally {
    await application.close();
  }
});
