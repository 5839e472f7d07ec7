/**
 * The addresses of the API and of the metrics, claimed before the programs start: a taken port of the API ends in a sentence
 * and not in a crash, and the metrics of two programs need two ports.
 */
import { createServer } from 'node:net';
import { ConfigError } from '../../shared/base/config.js';
import { type Config, METRICS_PORT } from '../../shared/contract/config.js';

const MOST_PORT = 65_535;

/**
 * Resolves to a port that can be listened on: `port` itself, or a free one for 0.
 *
 * @throws {ConfigError} when the port is taken, needs more rights, or the host is not of this machine
 */
export function claimPort(host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) =>
      reject(new ConfigError(faultOf(error, host, port))),
    );
    server.listen(port, host, () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address ? address.port : port));
    });
  });
}

export interface MetricsPorts {
  api: number;
  worker: number;
}

/**
 * Resolves to the ports of metrics: the configured one for the API and the next for the worker. A free one takes the place of
 * each that cannot be had, which is told where the user has chosen it.
 *
 * @param taken is the port that the API will serve on
 * @throws {ConfigError} when the host of metrics is not of this machine
 */
export async function claimMetricsPorts(
  { SLUICE_METRICS_HOST: host, SLUICE_METRICS_PORT: configured }: Config,
  taken: number,
  tell: (line: string) => void,
): Promise<MetricsPorts> {
  const first = configured ?? METRICS_PORT;
  const claim = async (port: number) => {
    if (port !== 0 && port !== taken && port <= MOST_PORT) {
      const claimed = await claimPort(host, port).catch(() => null);
      if (claimed !== null) return claimed;
    }
    const free = await claimPort(host, 0).catch(() => {
      throw new ConfigError(`SLUICE_METRICS_HOST=${host} is not an address of this machine.`);
    });
    if (port !== 0 && configured !== undefined)
      tell(`Port ${port} of SLUICE_METRICS_PORT cannot be had; metrics are on port ${free} instead.`);
    return free;
  };
  return { api: await claim(first), worker: await claim(first === 0 ? 0 : first + 1) };
}

/** Returns a URL by which a client on this machine reaches the API. */
export function urlOf(host: string, port: number): string {
  const reachable = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  return `http://${reachable.includes(':') ? `[${reachable}]` : reachable}:${port}`;
}

function faultOf(error: NodeJS.ErrnoException, host: string, port: number): string {
  switch (error.code) {
    case 'EADDRINUSE':
      return `Port ${port} of ${host} is in use. Choose another with PORT, as in: PORT=${port + 1} npm start`;
    case 'EACCES':
      return `Port ${port} needs more rights than this user has. Choose one above 1023 with PORT.`;
    default:
      return `${host}:${port} cannot be listened on: ${error.message}. HOST and PORT choose another address.`;
  }
}
