/** The proxy of the fault tests: a faster network must not let bytes overtake others, as no TCP connection does. */

import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { expect, it } from 'vitest';
import { openProxy } from '../support/proxy.js';

it('keeps the order of the bytes when it is healed', async () => {
  const received: Buffer[] = [];
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on('data', (chunk: Buffer) => void received.push(chunk));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const proxy = await openProxy((server.address() as AddressInfo).port);
  const client = connect(proxy.port, '127.0.0.1');
  client.setNoDelay();
  await once(client, 'connect');

  const text = () => Buffer.concat(received).toString();
  client.write('first');
  await expect.poll(text).toBe('first');
  proxy.slow(100);
  client.write(' second');
  // If it has not come to the proxy by then, this test sees less; it cannot fail for that.
  await new Promise((resolve) => setTimeout(resolve, 20));
  proxy.heal();
  client.write(' third');
  await expect.poll(text).toBe('first second third');

  client.destroy();
  for (const socket of sockets) socket.destroy();
  await proxy.close();
  server.close();
});
