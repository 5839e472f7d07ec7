/**
 * Attempts on real sockets, with the faults of a network. no-way-in.test.ts tests the addresses that are refused.
 */
import { afterEach, describe, expect, test, vi } from 'vitest';
import { systemClock } from '../../shared/base/clock.js';
import { createAddressRules } from '../../shared/contract/webhooks/address.js';
import {
  createSender,
  MAX_RESPONSE_BYTES,
  type Sender,
  type SenderDeps,
} from '../../worker/delivery/send.js';
import { answer, openReceiver, type Receiver, type Respond } from '../support/receiver.js';

const LOOPBACK = createAddressRules(['127.0.0.0/8']);
const closers: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  vi.unstubAllEnvs();
  for (const close of closers.splice(0).reverse()) await close();
});

function open(deps: Partial<SenderDeps> = {}): Sender {
  const sender = createSender({ clock: systemClock, rules: LOOPBACK, version: '1.2.3', ...deps });
  closers.push(sender.close);
  return sender;
}

async function receive(respond: Respond, host?: string, port?: number): Promise<Receiver> {
  const receiver = await openReceiver(respond, host, port);
  closers.push(receiver.close);
  return receiver;
}

const NEVER = new AbortController().signal;
const post = (sender: Sender, url: string, signal = NEVER) =>
  sender.send(url, { 'webhook-id': 'dlv_1' }, '{"a":1}', signal);

describe('an attempt', () => {
  test('posts the body with our headers and no others that matter', async () => {
    const receiver = await receive(answer(200, { 'set-cookie': 'a=b' }, 'thanks'));
    const sender = open();
    const { attempt } = await post(sender, receiver.url);
    expect(attempt).toMatchObject({ status: 200, error: null, responseBody: 'thanks' });
    expect(attempt.latencyMs).toBeGreaterThanOrEqual(0);
    await post(sender, receiver.url);
    await post(sender, receiver.url);
    const [first, second] = receiver.received;
    expect(first?.body).toBe('{"a":1}');
    expect(first?.headers).toEqual({
      host: `127.0.0.1:${receiver.port}`,
      connection: 'keep-alive',
      'content-type': 'application/json',
      'content-length': '7',
      'user-agent': 'Sluice/1.2.3',
      'webhook-id': 'dlv_1',
    });
    expect(second?.headers).toEqual(first?.headers);
    // One connection is used again. A second may open while the first still reads the end of its response.
    expect(receiver.connections()).toBeLessThanOrEqual(2);
  });

  test.each([301, 302, 303, 307, 308])('does not follow %i', async (status) => {
    const target = await receive(answer(200));
    const receiver = await receive(answer(status, { location: target.url }));
    const { attempt } = await post(open(), receiver.url);
    expect(attempt.status).toBe(status);
    expect(target.connections()).toBe(0);
  });

  test('keeps Retry-After', async () => {
    const receiver = await receive(answer(429, { 'retry-after': '7' }));
    expect(await post(open(), receiver.url)).toMatchObject({ attempt: { status: 429 }, retryAfter: '7' });
  });

  test('reads 16 KiB of an endless answer', async () => {
    const receiver = await receive((response) => {
      const more = () => {
        while (response.write('x'.repeat(4096)));
      };
      response.writeHead(500).on('drain', more);
      more();
    });
    const { attempt } = await post(open(), receiver.url);
    expect(attempt.status).toBe(500);
    expect(attempt.responseBody).toHaveLength(MAX_RESPONSE_BYTES);
  });

  test('is cut when nothing is answered', async () => {
    const receiver = await receive(() => {});
    const { attempt } = await post(open({ timeoutMs: 100 }), receiver.url);
    expect(attempt).toMatchObject({ status: null, error: 'no answer within 0.1 s' });
    expect(attempt.latencyMs).toBeLessThan(1000);
  });

  test('is cut when headers come drop by drop', async () => {
    const receiver = await receive((response) => void response.socket?.write('HTTP/1.1 200 OK\r\nx-a: '));
    expect((await post(open({ timeoutMs: 100 }), receiver.url)).attempt.status).toBeNull();
  });

  test('is answered by its status, though the body hangs or breaks off', async () => {
    const hangs = await receive((response) => void response.writeHead(200).write('so f'));
    const breaks = await receive((response) => {
      response.writeHead(200, { 'content-length': '100' });
      response.write('so f', () => response.destroy());
    });
    const sender = open({ timeoutMs: 200 });
    expect((await post(sender, hangs.url)).attempt).toMatchObject({ status: 200, responseBody: 'so f' });
    expect((await post(sender, breaks.url)).attempt).toMatchObject({ status: 200, responseBody: 'so f' });
  });

  test('tells what the network did', async () => {
    const gone = await openReceiver(answer(200));
    await gone.close();
    const plain = await receive(answer(200));
    const resets = await receive((response) => void response.destroy());
    const sender = open({
      resolve: async () => Promise.reject(Object.assign(new Error(), { code: 'ENOTFOUND' })),
    });
    const errorOf = async (url: string) => (await post(sender, url)).attempt.error;
    expect(await errorOf(gone.url)).toBe('ECONNREFUSED');
    expect(await errorOf(`https://127.0.0.1:${plain.port}/`)).toMatch(/SSL|EPROTO/);
    expect(await errorOf(resets.url)).toBe('UND_ERR_SOCKET');
    expect(await errorOf('http://receiver.test/')).toBe('ENOTFOUND');
  });

  test('rejects when its caller gives up', async () => {
    const receiver = await receive(() => {});
    const giveUp = new AbortController();
    const sending = post(open(), receiver.url, giveUp.signal);
    await receiver.has(1);
    giveUp.abort(new Error('closing'));
    await expect(sending).rejects.toThrow('closing');
  });
});

describe('the way out', () => {
  test('localhost reaches those of its addresses that are listed', async () => {
    const receiver = await receive(answer(200));
    const { attempt } = await post(open(), `http://localhost:${receiver.port}/`);
    expect(attempt.status).toBe(200);
  });

  test('no proxy is asked', async () => {
    const proxy = await receive(answer(200));
    const receiver = await receive(answer(204));
    for (const name of ['HTTP_PROXY', 'http_proxy', 'ALL_PROXY']) vi.stubEnv(name, proxy.url);
    vi.stubEnv('NODE_USE_ENV_PROXY', '1');
    expect((await post(open(), receiver.url)).attempt.status).toBe(204);
    expect(proxy.connections()).toBe(0);
  });
});
