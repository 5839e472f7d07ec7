/**
 * The health check of the images: ends with 0 while the process of this container is ready, else with 1 and the reason.
 */
import { messageOf } from '../../shared/base/errors.js';
import { loadConfig, METRICS_PORT, metricsAddressOf } from '../../shared/contract/config.js';
import { urlOf } from '../local/listen-address.js';

/** Shorter than the time that an engine gives the check, so that the reason is told. */
const ANSWER_MS = 4000;

async function main(): Promise<void> {
  const { host, port } = metricsAddressOf(loadConfig(), METRICS_PORT);
  const response = await fetch(`${urlOf(host, port)}/readyz`, { signal: AbortSignal.timeout(ANSWER_MS) });
  if (!response.ok) throw new Error((await response.text()).trim());
}

main().catch((error: unknown) => {
  console.error(messageOf(error));
  process.exitCode = 1;
});
