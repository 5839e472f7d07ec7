/**
 * The address of the API, claimed before it starts, so that a taken port ends in a sentence and not in a crash.
 */
import { createServer } from 'node:net';
import { ConfigError } from '../../shared/base/config.js';

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
      return `HOST=${host} PORT=${port} cannot be listened on: ${error.message}`;
  }
}
