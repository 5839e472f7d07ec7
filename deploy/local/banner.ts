/**
 * The lines that a newcomer reads first: the address, the key, and one request to try.
 */
import { existsSync } from 'node:fs';
import { join, relative } from 'node:path';
import type { Config } from '../../shared/contract/config.js';
import type { Launched } from './launch.js';
import { urlOf } from './listen-address.js';

const EXAMPLE = 'mnist/examples/7.json';

/** Returns the lines for the terminal once Sluice is ready. */
export function bannerOf(
  launched: Pick<Launched, 'address' | 'apiKey' | 'redis' | 'metrics'>,
  config: Config,
): string {
  const { address, apiKey, redis, metrics } = launched;
  const metricsOf = (port: number) => `${urlOf(config.SLUICE_METRICS_HOST, port)}/metrics`;
  const logs = join(relative('', config.SLUICE_DATA_DIR), 'logs');
  return `
Sluice is ready.

  Address   ${address}
  API key   ${apiKey}
  Redis     ${redis}
  Logs      ${logs}
  Metrics   ${metricsOf(metrics.api)}, of the worker ${metricsOf(metrics.worker)}

${invitationOf(address, apiKey, join(relative('', config.SLUICE_MODELS_DIR), EXAMPLE))}

Ctrl-C stops it; jobs and keys are kept in ${relative('', config.SLUICE_DATA_DIR) || '.'}.`;
}

/** A models folder without the bundled model gets a request that every Sluice answers. */
function invitationOf(address: string, apiKey: string, example: string): string {
  if (existsSync(example)) return `Which digit is this?\n\n${requestOf(address, apiKey, example)}`;
  return `What is served?\n\ncurl -s ${address}/v1/models -H "Authorization: Bearer ${apiKey}"`;
}

function requestOf(address: string, apiKey: string, example: string): string {
  return [
    `curl -s ${address}/v1/jobs`,
    `-H "Authorization: Bearer ${apiKey}"`,
    `-H 'Content-Type: application/json'`,
    `-H 'Prefer: wait=10'`,
    `-d @${example}`,
  ].join(' ');
}
