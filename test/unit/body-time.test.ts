/**
 * A body that dawdles is not waited for.
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { text } from 'node:stream/consumers';
import Koa from 'koa';
import { Registry } from 'prom-client';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { requestContext, unboundBody } from '../../api/http/request-context.js';
import { createManualClock, type ManualClock } from '../support/manual-clock.js';

let clock: ManualClock;
let port: number;
let close: () => Promise<unknown>;
let arrived: Promise<unknown>;

beforeEach(async () => {
  clock = createManualClock();
  const app = new Koa();
  app.silent = true;
  app.use(requestContext({ clock, registry: new Registry() }));
  let tell = () => {};
  arrived = new Promise<void>((resolve) => (tell = resolve));
  app.use(async (ctx) => {
    tell();
    if (ctx.path === '/early') {
      ctx.body = 'early';
      return;
    }
    if (ctx.path === '/upload') unboundBody(ctx);
    ctx.body = `got ${(await text(ctx.req)).length}`;
  });
  const server = createServer(app.callback()).listen(0, '127.0.0.1');
  await once(server, 'listening');
  port = (server.address() as AddressInfo).port;
  close = async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
});
afterEach(() => close());

async function begin(path: string) {
  const socket = connect(port, '127.0.0.1');
  socket.write(`POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345`);
  await arrived;
  return socket;
}

it('after ten seconds it is answered 408 and hung up', async () => {
  const socket = await begin('/');
  await clock.advance(10_000);
  expect(await text(socket)).toMatch(/^HTTP\/1\.1 408 /);
});

it('one whose route takes its time is waited for', async () => {
  const socket = await begin('/upload');
  await clock.advance(60_000);
  socket.write('67890');
  const [answer] = await once(socket, 'data');
  expect(String(answer)).toMatch(/^HTTP\/1\.1 200 [\s\S]*got 10$/);
  socket.destroy();
});

it('one that has been answered already is hung up, too', async () => {
  const socket = await begin('/early');
  const [answer] = await once(socket, 'data');
  expect(String(answer)).toMatch(/early$/);
  await clock.advance(10_000);
  await once(socket, 'close');
});
