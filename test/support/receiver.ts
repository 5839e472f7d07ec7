/**
 * A webhook receiver: answers as a test tells it and keeps what it was sent.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Received {
  headers: Record<string, string>;
  body: string;
}

export interface Receiver {
  port: number;
  url: string;
  received: Received[];
  /** Connections that were opened to it. */
  connections(): number;
  /** Resolves once `count` requests have come. */
  has(count: number): Promise<void>;
  close(): Promise<void>;
}

/** `nth` is 1 for the first request. */
export type Respond = (response: ServerResponse, nth: number, request: IncomingMessage) => void;

export function answer(status: number, headers: Record<string, string> = {}, body = ''): Respond {
  return (response) => void response.writeHead(status, headers).end(body);
}

export async function openReceiver(respond: Respond, host = '127.0.0.1', port = 0): Promise<Receiver> {
  const received: Received[] = [];
  const waiting: { count: number; resolve: () => void }[] = [];
  let connections = 0;
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    received.push({
      headers: request.headers as Record<string, string>,
      body: Buffer.concat(chunks).toString(),
    });
    respond(response, received.length, request);
    for (const { count, resolve } of waiting) if (received.length >= count) resolve();
  });
  server.on('connection', () => connections++);
  await new Promise<void>((resolve) => server.listen(port, host, resolve));
  const address = server.address() as AddressInfo;
  return {
    port: address.port,
    url: `http://${host}:${address.port}/hook`,
    received,
    connections: () => connections,
    has: (count) =>
      new Promise((resolve) => {
        if (received.length >= count) resolve();
        else waiting.push({ count, resolve });
      }),
    close: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}
