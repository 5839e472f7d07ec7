/**
 * Results that are too large for an answer, and what a repeated submit shows.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, inject, it } from 'vitest';
import { BOTH_MODELS, ROOT, type Stack, startStack } from '../support/stack.js';

const digit = JSON.parse(readFileSync(join(ROOT, 'deploy/models/mnist/examples/7.json'), 'utf8'));

let stack: Stack;
beforeAll(async () => {
  stack = await startStack(inject('redisUrl'), BOTH_MODELS);
  await stack.ready();
}, 30_000);
afterAll(() => stack.close());

it('a large result is a file with a signed address, and goes with its job', async () => {
  const side = 160;
  const noise = sharp(randomBytes(side * side * 3), { raw: { width: side, height: side, channels: 3 } });
  const b64 = (await noise.png().toBuffer()).toString('base64');
  const submitted = await stack.request('POST', '/v1/jobs', {
    model: 'upscale',
    instances: [{ image: { b64 } }],
  });
  const ended = await stack.request('GET', `/v1/jobs/${submitted.body.id}?wait=60`);
  expect(ended.body.status).toBe('succeeded');
  const { file, url } = ended.body.predictions;
  const content = await fetch(stack.url + url);
  expect(content.headers.get('content-type')).toBe('application/json');
  const [prediction] = (await content.json()) as { image: { b64: string } }[];
  const picture = await sharp(Buffer.from(prediction?.image.b64 ?? '', 'base64')).metadata();
  expect(picture).toMatchObject({ format: 'png', width: 2 * side, height: 2 * side });
  const again = await stack.request('GET', `/v1/jobs/${submitted.body.id}`);
  expect(again.body.predictions.file).toBe(file);
  expect((await stack.request('GET', `/v1/files/${file}`)).body.bytes).toBeGreaterThan(256 * 1024);
  await stack.request('DELETE', `/v1/jobs/${submitted.body.id}`);
  expect((await stack.request('GET', `/v1/files/${file}`)).status).toBe(404);
  expect((await fetch(stack.url + url)).status).toBe(404);
}, 90_000);

it('a submit that is repeated when its job has ended shows the result', async () => {
  const key = { 'idempotency-key': 'once' };
  const first = await stack.request('POST', '/v1/jobs', digit, { ...key, prefer: 'wait=20' });
  const again = await stack.request('POST', '/v1/jobs', digit, key);
  expect(again.headers.get('idempotent-replayed')).toBe('true');
  expect(again.body).toEqual(first.body);
});
