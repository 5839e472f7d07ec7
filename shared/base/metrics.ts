/**
 * Metrics for operators, in Prometheus' text format, on a private port.
 */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { collectDefaultMetrics, Gauge, type GaugeConfiguration, Registry } from 'prom-client';
import { type Clock, sleep } from './clock.js';
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
      const readings = await inTime(clock, read);
      this.reset();
      // Without labels a reset is a zero.
      if (!labelNames) this.remove();
      for (const { labels, value } of readings) this.set(labels ?? {}, value);
    },
  });
}

async function inTime<T>(clock: Clock, read: () => Promise<T[]>): Promise<T[]> {
  const stop = new AbortController();
  const late = sleep(clock, READ_WITHIN_MS, stop.signal).then(() => []);
  try {
    return await Promise.race([read(), late]);
  } catch {
    // The owner of the store reports its faults.
    return [];
  } finally {
    stop.abort();
  }
}

export interface MetricsPort {
  port: number;
  /** The variable that sets the port, for the text of a warning. */
  setting: string;
}

/**
 * Serves `GET /metrics` on loopback, and with `demandReady` also `GET /readyz`: 200, or 503 with the reason.
 * A port in use is a warning and never a reason not to run.
 * @param demandReady rejects with the reason while the process should get no work.
 * @returns the server, or null when the port is in use.
 */
export async function serveMetrics(
  registry: Registry,
  { port, setting }: MetricsPort,
  log: Logger,
  demandReady?: () => Promise<void>,
): Promise<Server | null> {
  const server = createServer((request, response) => {
    const path = request.method === 'GET' ? request.url : '';
    if (path === '/metrics') {
      registry.metrics().then(
        (text) => response.writeHead(200, { 'content-type': registry.contentType }).end(text),
        () => response.writeHead(500).end(),
      );
    } else if (path === '/readyz' && demandReady) {
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
      log.warn({ port, why: messageOf(error) }, `metrics are not served: ${setting} can name another port`);
      resolve(null);
    });
    server.listen(port, '127.0.0.1', () => {
      log.info({ port: (server.address() as AddressInfo).port }, 'metrics on 127.0.0.1');
      resolve(server.unref());
    });
  });
}
