/**
 * A webhook receiver that responds as a test tells it and keeps what it was sent.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createSecureServer, type Server as SecureServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Certificate } from './self-signed.js';

export interface Received {
  headers: Record<string, string>;
  body: string;
}

export interface Receiver {
  port: number;
  url: string;
  received: Received[];
  /** The number of connections that were opened to it. */
  connections(): number;
  /** Presents another certificate from now on. */
  show(certificate: Certificate): void;
  /** Resolves once `count` requests have come. */
  has(count: number): Promise<void>;
  close(): Promise<void>;
}

/** `nth` is 1 for the first request. */
export type Respond = (response: ServerResponse, nth: number, request: IncomingMessage) => void;

export function answer(status: number, headers: Record<string, string> = {}, body = ''): Respond {
  return (response) => void response.writeHead(status, headers).end(body);
}

/** Opens a receiver; with a certificate it speaks TLS alone. */
export async function openReceiver(
  respond: Respond,
  host = '127.0.0.1',
  port = 0,
  certificate?: Certificate,
): Promise<Receiver> {
  const received: Received[] = [];
  const waiting: { count: number; resolve: () => void }[] = [];
  let connections = 0;
  const take = async (request: IncomingMessage, response: ServerResponse) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    received.push({
      headers: request.headers as Record<string, string>,
      body: Buffer.concat(chunks).toString(),
    });
    respond(response, received.length, request);
    for (const { count, resolve } of waiting) if (received.length >= count) resolve();
  };
  const server = certificate ? createSecureServer(certificate, take) : createServer(take);
  server.on('connection', () => connections++);
  await new Promise<void>((resolve) => server.listen(port, host, resolve));
  const address = server.address() as AddressInfo;
  return {
    port: address.port,
    url: `${certificate ? 'https' : 'http'}://${host}:${address.port}/hook`,
    received,
    connections: () => connections,
    show: (other) => (server as SecureServer).setSecureContext(other),
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
