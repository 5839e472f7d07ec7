/**
 * Runs the receivers in the guide as applications that have the package installed.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { newSigningSecret, sign } from '../../shared/contract/webhooks/signing.js';
import { exited, freePort, ROOT } from '../support/stack.js';
import { temporaryFolder } from '../support/started-redis.js';

const GUIDE = readFileSync(join(ROOT, 'deploy/guides/receive-webhooks.md'), 'utf8');
const SECRET = newSigningSecret();
const BODY = '{"type":"job.succeeded","timestamp":"2026-11-25T12:00:00.000Z","data":{"id":"job_ü"}}';

/** Serves a handler of `Request`s, as a web framework does. */
const SERVE_FETCH = `
import { createServer } from 'node:http';
import { Readable } from 'node:stream';
import { POST } from './Fetch.mjs';
createServer(async (incoming, outgoing) => {
  const { method, headers } = incoming;
  const request = new Request('http://receiver.test/', { method, headers, body: Readable.toWeb(incoming), duplex: 'half' });
  const response = await POST(request);
  outgoing.writeHead(response.status).end(await response.text());
}).listen(process.env.PORT);
`;

let folder: ReturnType<typeof temporaryFolder>;
let receiver: ChildProcess | undefined;
let told = '';

beforeEach(() => {
  folder = temporaryFolder();
  // `npm install` of a folder makes the same link.
  mkdirSync(join(folder.path, 'node_modules'));
  symlinkSync(ROOT, join(folder.path, 'node_modules/sluice'));
  for (const name of ['koa', 'raw-body', 'express'])
    symlinkSync(join(ROOT, 'node_modules', name), join(folder.path, 'node_modules', name));
});
afterEach(async () => {
  receiver?.kill();
  if (receiver) await exited(receiver);
  receiver = undefined;
  folder.remove();
});

/** Runs the example of a section and returns its URL. */
async function run(section: string): Promise<string> {
  const [, , code = ''] = new RegExp(`## (${section})\n[^]*?\`\`\`js\n([^]*?)\`\`\``).exec(GUIDE) ?? [];
  expect(code.trimEnd().split('\n').length, 'a short one').toBeLessThan(25);
  writeFileSync(join(folder.path, `${section}.mjs`), code);
  writeFileSync(join(folder.path, 'serve.mjs'), SERVE_FETCH);
  const port = await freePort();
  const entry = code.includes('.listen(') ? `${section}.mjs` : 'serve.mjs';
  told = '';
  receiver = spawn(process.execPath, [join(folder.path, entry)], {
    env: { ...process.env, PORT: String(port), WEBHOOK_SECRET: SECRET },
  });
  receiver.stderr?.on('data', (text) => (told += text));
  const url = `http://127.0.0.1:${port}/`;
  await expect
    .poll(() => post(url, {}, '').catch(() => `nothing answers; it wrote: ${told}`), { timeout: 10_000 })
    .toBe(401);
  return url;
}

async function post(url: string, headers: Record<string, string>, body: string): Promise<number> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body,
  });
  await response.body?.cancel();
  return response.status;
}

describe.each(['Koa', 'Express', 'Fetch'])('%s', (section) => {
  it('takes what is signed, once more too, and refuses what is forged', async () => {
    const url = await run(section);
    const headers = { ...sign([SECRET], 'dlv_1', Math.floor(Date.now() / 1000), BODY) };
    expect(await post(url, headers, BODY)).toBe(204);
    expect(await post(url, headers, BODY)).toBe(204);
    expect(await post(url, headers, BODY.replace('succeeded', 'failed'))).toBe(401);
    expect(await post(url, { ...headers, 'webhook-id': 'dlv_2' }, BODY)).toBe(401);
    const others = sign([newSigningSecret()], 'dlv_1', Math.floor(Date.now() / 1000), BODY);
    expect(await post(url, { ...others }, BODY)).toBe(401);
    expect(await post(url, headers, JSON.stringify(JSON.parse(BODY), null, 1)), 'written again').toBe(401);
    expect(told).toBe('');
  });
});

it('is typed for whoever writes TypeScript', () => {
  symlinkSync(join(ROOT, 'node_modules/@types'), join(folder.path, 'node_modules/@types'));
  const compile = (secret: string) => {
    const code = `import { verifyWebhook, type WebhookEvent } from 'sluice/client';
export const event: WebhookEvent = verifyWebhook({ body: '', headers: {}, secret: ${secret} });`;
    writeFileSync(join(folder.path, 'receiver.mts'), code);
    const tsc = join(ROOT, 'node_modules/.bin/tsc');
    const flags = ['--noEmit', '--strict', '--module', 'NodeNext', '--target', 'ES2023', '--types', 'node'];
    return spawnSync(tsc, [...flags, 'receiver.mts'], { cwd: folder.path, encoding: 'utf8' }).stdout;
  };
  expect(compile(`['whsec_1', 'whsec_2']`)).toBe('');
  expect(compile('1')).toContain("Type 'number' is not assignable");
});
