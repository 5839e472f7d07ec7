/**
 * What an API says to whoever has its address and nothing else. The answers are held against the OpenAPI document, too.
 */
import { createHash } from 'node:crypto';
import { afterAll, beforeAll, expect, inject, it } from 'vitest';
import { type Stack, startStack } from '../support/stack.js';

let stack: Stack;
beforeAll(async () => {
  stack = await startStack(inject('redisUrl'), {}, 0);
  await stack.apiReady();
});
afterAll(() => stack.close());

const get = (path: string, accept?: string) =>
  fetch(stack.url + path, accept === undefined ? {} : { headers: { accept } });

it.each([
  [undefined, 'text/html'],
  ['text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8', 'text/html'],
  ['image/png', 'text/html'],
  ['application/json', 'application/json'],
  ['text/html;q=0.5, application/json', 'application/json'],
  ['application/*', 'application/json'],
])('answers / to Accept: %s with %s', async (accept, type) => {
  const response = await get('/', accept);
  expect(response.status).toBe(200);
  expect(response.headers.get('content-type')).toBe(`${type}; charset=utf-8`);
  expect(response.headers.get('vary')).toBe('Accept');
});

it('shows a page that loads nothing and leads to no other host', async () => {
  const response = await get('/', 'text/html');
  const html = await response.text();
  expect(html).not.toMatch(/\bhttps?:|(?:href|src)="(?!\/[^/])|url\(|@import|<script/i);
  const [, style = ''] = /<style>([\s\S]*?)<\/style>/.exec(html) ?? [];
  const hash = createHash('sha256').update(style).digest('base64');
  expect(response.headers.get('content-security-policy')).toBe(
    `default-src 'none'; style-src 'sha256-${hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
  );
  const targets = [...html.matchAll(/href="([^"]+)"/g)].map(([, target = '']) => target);
  expect(new Set(targets)).toEqual(new Set(['/openapi.json', '/v1', '/livez', '/readyz']));
  for (const target of targets) expect((await get(target)).status, target).toBe(200);
  expect(await (await get('/', 'application/json')).json()).toMatchObject({ name: 'Sluice', api: '/v1' });
});

it('lists the addresses of all resources, each of which answers', async () => {
  const { resources } = (await (await get('/v1')).json()) as { resources: Record<string, string> };
  expect(resources).toMatchObject({ jobs: '/v1/jobs', webhookEndpoints: '/v1/webhook-endpoints' });
  const { paths } = (await (await get('/openapi.json')).json()) as { paths: Record<string, object> };
  const nouns = Object.keys(paths).flatMap((path) => /^\/v1\/[^/]+/.exec(path)?.[0] ?? []);
  expect(new Set(Object.values(resources)), 'none is left out').toEqual(new Set(nouns));
  for (const path of Object.values(resources))
    expect((await stack.request('GET', path)).status, path).not.toBe(404);
});

it('refuses other methods', async () => {
  for (const path of ['/', '/v1']) {
    const response = await fetch(stack.url + path, { method: 'POST' });
    expect(response.status).toBe(405);
    expect(response.headers.get('allow')).toBe('HEAD, GET');
  }
});
