/**
 * Metrics for operators, in Prometheus' text format, and probes for who runs the process, on a private port.
 */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { collectDefaultMetrics, Gauge, type GaugeConfiguration, Registry } from 'prom-client';
import { type Clock, within } from './clock.js';
import { messageOf } from './errors.js';
import type { Logger } from './log.js';

/** Returns a registry that already holds the default metrics of the process. */
export function createRegistry(): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  return registry;
}

export interface Reading<Label extends string> {
  labels?: Record<Label, string | number>;
  value: number;
}

/** Prometheus waits ten seconds for all metrics of a process; one gauge takes at most a tenth of that. */
const READ_WITHIN_MS = 1000;

/**
 * Registers a gauge whose values `read` fetches at each scrape. A value that does not arrive within `READ_WITHIN_MS` is left
 * out, and so are labels that `read` no longer returns, because operators need the other metrics most while a store is away.
 */
export function createReadGauge<Label extends string>(
  clock: Clock,
  { name, help, labelNames, registers }: Omit<GaugeConfiguration<Label>, 'collect'>,
  read: () => Promise<Reading<Label>[]>,
): void {
  new Gauge<Label>({
    name,
    help,
    ...(labelNames && { labelNames }),
    ...(registers && { registers }),
    async collect() {
      // The owner of the store reports its faults.
      const readings = (await within(clock, READ_WITHIN_MS, read()).catch(() => null)) ?? [];
      this.reset();
      // Without labels a reset is a zero.
      if (!labelNames) this.remove();
      for (const { labels, value } of readings) this.set(labels ?? {}, value);
    },
  });
}

export interface MetricsAddress {
  host: string;
  port: number;
  /** Names the variables that set the address, for the text of a warning. */
  settings: string;
}

/**
 * Serves `GET /metrics`, and the probes `GET /livez` (200) and `GET /readyz` (200, or 503 with the reason) beside it. The
 * server lasts as long as the process, because a process that drains is watched and is asked whether it is ready.
 * An address that cannot be had is a warning and never a reason not to run.
 * @param demandReady rejects with the reason while the process should get no work.
 * @returns the server, or null when the address cannot be had.
 */
export async function serveMetrics(
  registry: Registry,
  { host, port, settings }: MetricsAddress,
  log: Logger,
  demandReady: () => Promise<void>,
): Promise<Server | null> {
  const server = createServer((request, response) => {
    const path = request.method === 'GET' ? request.url : '';
    if (path === '/metrics') {
      registry.metrics().then(
        (text) => response.writeHead(200, { 'content-type': registry.contentType }).end(text),
        () => response.writeHead(500).end(),
      );
    } else if (path === '/livez') {
      response.writeHead(200).end('alive\n');
    } else if (path === '/readyz') {
      demandReady().then(
        () => response.writeHead(200).end('ready\n'),
        (error) => response.writeHead(503).end(`${messageOf(error)}\n`),
      );
    } else {
      response.writeHead(404).end();
    }
  });
  return new Promise((resolve) => {
    server.once('error', (error) => {
      log.warn(
        { host, port, why: messageOf(error) },
        `metrics are not served: ${settings} choose another address`,
      );
      resolve(null);
    });
    server.listen(port, host, () => {
      log.info({ port: (server.address() as AddressInfo).port }, `metrics on ${host}`);
      resolve(server.unref());
    });
  });
}
