/**
 * A worker whose role is inference, of the product's own parts, but for its child, which simulates a device.
 */
import { systemClock as clock } from '../../../shared/base/clock.js';
import { createErrorLog } from '../../../shared/base/log.js';
import { createRegistry, serveMetrics } from '../../../shared/base/metrics.js';
import { run } from '../../../shared/base/runner.js';
import { openBlobs } from '../../../shared/blobs/open.js';
import { loadConfig, metricsAddressOf } from '../../../shared/contract/config.js';
import { composeCore } from '../../../shared/core/compose.js';
import { openInferenceQueues } from '../../../shared/queue/queues.js';
import { openRedis, type Purpose, redisUrl } from '../../../shared/redis/connect.js';
import { createReadiness } from '../../../shared/redis/readiness.js';
import { listenForWorkerNotices } from '../../../worker/inference/consumer/worker-notices.js';
import { startInference } from '../../../worker/inference/role.js';
import { idleConnections } from '../../support/connections.js';

await run('worker', loadConfig, async ({ defer, config, log, draining }) => {
  const registry = createRegistry();
  const onError = createErrorLog(log, clock);
  const onRedisError = (error: Error) => onError('redis', error);
  async function open(purpose: Purpose) {
    const connection = await openRedis(redisUrl(config), purpose, onRedisError);
    defer(purpose, () => connection.disconnect());
    return connection;
  }
  const [redis, queueRedis, listener] = [await open('work'), await open('work'), await open('listen')];
  const transport = openInferenceQueues(queueRedis, config.SLUICE_KEY_PREFIX, onRedisError);
  defer('queues', () => transport.close());
  const blobs = await openBlobs(config, clock);
  defer('blobs', () => blobs.close());
  const core = composeCore(config, idleConnections(redis, blobs, { transport, onError }));
  const inference = await startInference({
    config,
    child: new URL('./device.js', import.meta.url),
    core,
    queueRedis,
    workerNotices: await listenForWorkerNotices(listener, {
      stopped: core.keys.stopped,
      bell: core.keys.bell(String(process.pid)),
    }),
    clock,
    log,
    registry,
    onError,
  });
  defer('inference', () => inference.close());
  const demandReady = createReadiness({ redis, clock, draining, fault: inference.fault });
  await serveMetrics(registry, metricsAddressOf(config, 0), log, demandReady);
});
