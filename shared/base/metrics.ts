/** What operators measure: metrics (Prometheus) on a private port. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { collectDefaultMetrics, Registry } from 'prom-client';
import { messageOf } from './errors.js';
import type { Logger } from './log.js';

export function createRegistry(): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  return registry;
}

/**
 * Serves `GET /metrics` on loopback, and `GET /readyz` (200, or 503 with the reason) for a process that has no other
 * port; a port in use is a warning, never a reason not to run.
 */
export async function serveMetrics(
  registry: Registry,
  port: number,
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
      log.warn(
        { port, why: messageOf(error) },
        'metrics are not served: SLUICE_METRICS_PORT names another port',
      );
      resolve(null);
    });
    server.listen(port, '127.0.0.1', () => {
      log.info({ port: (server.address() as AddressInfo).port }, 'metrics on 127.0.0.1');
      resolve(server.unref());
    });
  });
}
