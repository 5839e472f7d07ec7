/**
 * How bodies arrive: asked for, at a least rate, and never cut short.
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { gzipSync } from 'node:zlib';
import Koa from 'koa';
import { Registry } from 'prom-client';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { readJson } from '../../api/http/json-body.js';
import { readFileParts } from '../../api/http/multipart.js';
import { problems } from '../../api/http/problem.js';
import { requestContext } from '../../api/http/request-context.js';
import { createManualClock, type ManualClock } from '../support/manual-clock.js';

const MAX_BYTES = 1_000_000;
/** What must come in ten seconds. */
const LEAST = 100_000;

let clock: ManualClock;
let port: number;
/** The server's side of the newest connection. */
let connection: Socket | undefined;
let close: () => Promise<unknown>;
let arrived: Promise<unknown>;

beforeEach(async () => {
  clock = createManualClock();
  const app = new Koa();
  app.silent = true;
  app.use(requestContext({ clock, registry: new Registry() }));
  app.use(problems({ error() {} } as never));
  let tell = () => {};
  arrived = new Promise<void>((resolve) => (tell = resolve));
  app.use(async (ctx) => {
    if (ctx.path === '/early') {
      tell();
      ctx.body = 'early';
      return;
    }
    ctx.req.once('data', tell);
    if (ctx.path === '/upload')
      await readFileParts(ctx, { maxBytes: MAX_BYTES, maxParts: 1 }, ({ content }) => text(content));
    else await readJson(ctx, { maxBytes: MAX_BYTES, maxDepth: 8 });
    ctx.body = 'taken';
  });
  const answer = app.callback();
  const server = createServer(answer).on('checkContinue', answer).listen(0, '127.0.0.1');
  await once(server, 'listening');
  server.on('connection', (each) => (connection = each));
  port = (server.address() as AddressInfo).port;
  close = async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
});
afterEach(() => close());

const JSON_HEAD = 'Content-Type: application/json';
const FORM_HEAD = 'Content-Type: multipart/form-data; boundary=x';
const FILE_HEAD = '--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n';

function begin(path: string, ...head: string[]) {
  const socket = connect(port, '127.0.0.1');
  socket.write(`POST ${path} HTTP/1.1\r\nHost: x\r\n${head.join('\r\n')}\r\n\r\n`);
  return socket;
}

/** Sends a body whole, and returns the status of the answer and its JSON. */
async function post(body: Buffer, ...head: string[]) {
  const socket = begin('/', JSON_HEAD, `Content-Length: ${body.length}`, 'Connection: close', ...head);
  socket.write(body);
  const answer = await text(socket);
  return { status: Number(answer.split(' ')[1]), answer };
}

describe('a body that is slow', () => {
  it('is answered 408 with a problem and hung up when a period brings too little', async () => {
    const socket = begin('/', JSON_HEAD, 'Content-Length: 900000');
    socket.write('[');
    await arrived;
    await clock.advance(10_000);
    const answer = await text(socket);
    expect(answer).toMatch(/^HTTP\/1\.1 408 [\s\S]*application\/problem\+json[\s\S]*"code":"body_too_slow"/);
  });

  it('is waited for as long as each period brings enough', async () => {
    const socket = begin('/', JSON_HEAD, `Content-Length: ${8 * LEAST + 1}`);
    const answer = once(socket, 'data');
    socket.write('1');
    await arrived;
    for (let period = 0; period < 8; period++) {
      socket.write(' '.repeat(LEAST));
      await vi.waitFor(() => expect(connection?.bytesRead).toBeGreaterThan((period + 1) * LEAST));
      await clock.advance(10_000);
    }
    expect(String((await answer)[0])).toMatch(/^HTTP\/1\.1 200 /);
    socket.destroy();
  });

  it('may stall for longer where it is an upload, and is told so, too', async () => {
    const socket = begin('/upload', FORM_HEAD, 'Content-Length: 900000');
    let answer = '';
    socket.on('data', (bytes) => (answer += bytes));
    socket.write(FILE_HEAD);
    await arrived;
    await clock.advance(29_000);
    expect(answer).toBe('');
    await clock.advance(1000);
    await once(socket, 'close');
    expect(answer).toMatch(/^HTTP\/1\.1 408 [\s\S]*"code":"body_too_slow"/);
  });

  it('is hung up, too, when it was answered already', async () => {
    const socket = begin('/early', 'Content-Length: 10');
    const [answer] = await once(socket, 'data');
    expect(String(answer)).toMatch(/early$/);
    await clock.advance(10_000);
    await once(socket, 'close');
  });
});

describe('a caller who expects 100 Continue', () => {
  const expectation = ['Expect: 100-continue', JSON_HEAD];

  it('is asked for the body once somebody reads it', async () => {
    const socket = begin('/', ...expectation, 'Content-Length: 1');
    const [asked] = await once(socket, 'data');
    expect(String(asked)).toBe('HTTP/1.1 100 Continue\r\n\r\n');
    socket.write('1');
    const [answer] = await once(socket, 'data');
    expect(String(answer)).toMatch(/^HTTP\/1\.1 200 /);
    socket.destroy();
  });

  it.each([
    ['a refusal', '/early', 10, 200],
    ['a size too large', '/', MAX_BYTES + 1, 413],
  ])('gets %s before the body, and the connection ends', async (_, path, length, status) => {
    const answer = await text(begin(path, ...expectation, `Content-Length: ${length}`));
    expect(answer).toMatch(new RegExp(`^HTTP/1\\.1 ${status} [\\s\\S]*Connection: close`));
  });
});

describe('a body of gzip', () => {
  const json = Buffer.from(JSON.stringify({ a: 'some text' }));
  const zipped = gzipSync(json);
  const halves = Buffer.concat([gzipSync(json.subarray(0, 9)), gzipSync(json.subarray(9))]);
  const padded = (size: number) => gzipSync(Buffer.concat([json, Buffer.alloc(size - json.length, ' ')]));

  it.each([
    ['whole', zipped, 200],
    ['of two members', halves, 200],
    ['exactly at the limit', padded(MAX_BYTES), 200],
    ['a byte above the limit', padded(MAX_BYTES + 1), 413],
    ['cut', zipped.subarray(0, -10), 400],
    ['cut in its second member', halves.subarray(0, -10), 400],
    ['with garbage behind it', Buffer.concat([zipped, Buffer.from('garbage')]), 400],
    ['with zeros and a member behind it', Buffer.concat([zipped, Buffer.alloc(3), zipped]), 400],
    ['that is none', json, 400],
  ])('%s', async (_, body, status) => {
    expect(await post(body, 'Content-Encoding: gzip')).toMatchObject({ status });
  });

  it('is told by its older name, and no other encoding is taken', async () => {
    expect(await post(zipped, 'Content-Encoding: x-gzip')).toMatchObject({ status: 200 });
    expect(await post(zipped, 'Content-Encoding: deflate')).toMatchObject({ status: 415 });
  });

  it('is given up when its sender hangs up', async () => {
    const socket = begin('/', JSON_HEAD, 'Content-Encoding: gzip', 'Content-Length: 1000');
    socket.write(zipped.subarray(0, 12));
    await arrived;
    socket.destroy();
    await close();
  });
});

it('a size too large is answered while its sender still sends', async () => {
  expect(await post(Buffer.alloc(20 * MAX_BYTES, ' '))).toMatchObject({ status: 413 });
});
