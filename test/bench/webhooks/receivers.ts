/**
 * Receivers of webhooks, good and bad.
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { systemClock as clock, sleep } from '../../../shared/base/clock.js';
import type { Site } from '../site.js';

export const ALLOWED = '127.0.0.0/8';

export interface BenchReceiver {
  url: string;
  /** The time from the end of each job to the arrival of its webhook. */
  delaysMs: number[];
  listen(): Promise<void>;
}

export async function openReceiver(site: Site, isThere = true): Promise<BenchReceiver> {
  const delaysMs: number[] = [];
  const server = createServer(async (request, response) => {
    const cameMs = clock.now();
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    response.writeHead(204).end();
    const { data } = JSON.parse(Buffer.concat(chunks).toString()) as { data: { finishedAt?: string } };
    if (data.finishedAt) delaysMs.push(cameMs - Date.parse(data.finishedAt));
  });
  const listenOn = (port: number) =>
    new Promise<void>((resolve) => server.listen(port, '127.0.0.1', () => resolve()));
  const shut = () => new Promise<void>((resolve) => server.close(() => resolve()));
  await listenOn(0);
  const { port } = server.address() as AddressInfo;
  if (!isThere) await shut();
  site.defer(async () => {
    server.closeAllConnections();
    await shut();
  });
  return { url: `http://127.0.0.1:${port}/`, delaysMs, listen: () => listenOn(port) };
}

/** Returns a URL at which nobody listens. */
export async function refusing(): Promise<string> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return `http://127.0.0.1:${port}/`;
}

export const hanging = (site: Site) => answering(site, null);
export const slow = (site: Site) => answering(site, 2000);

async function answering(site: Site, afterMs: number | null): Promise<string> {
  const server = createServer((request, response) => {
    request.resume();
    if (afterMs !== null) clock.after(afterMs, () => response.writeHead(204).end());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  site.defer(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}

export async function until(
  { signal }: Site,
  withinMs: number,
  isSo: () => boolean | Promise<boolean>,
): Promise<void> {
  const startMs = clock.monotonic();
  while (!(await isSo())) {
    signal.throwIfAborted();
    if (clock.monotonic() - startMs > withinMs) throw new Error(`not within ${withinMs / 1000} s`);
    await sleep(clock, 50);
  }
}
