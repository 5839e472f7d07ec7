/**
 * The core, put together: every noun by its name, made from the configuration and from connections that are open already.
 *
 * It opens nothing, starts nothing and closes nothing; each process, test and bench makes its core here.
 */
import type { Clock } from '../base/clock.js';
import { list } from '../base/config.js';
import type { BlobStore } from '../blobs/blobs.js';
import type { Config } from '../contract/config.js';
import type { JobRecord } from '../contract/job.js';
import { createAddressRules } from '../contract/webhooks/address.js';
import type { BatchQueue } from '../queue/queues.js';
import type { Redis } from '../redis/connect.js';
import { createKeys } from '../redis/keys.js';
import { createApiKeys } from './access/api-keys.js';
import { createSignedAddresses } from './access/signed-addresses.js';
import { createBatchUpkeep } from './batches/batch-upkeep.js';
import { createBatches } from './batches/batches.js';
import { createFiles } from './files/files.js';
import { createDueIndex } from './jobs/due-index.js';
import { createExecutions } from './jobs/executions.js';
import { jobLimitsOf } from './jobs/job-limits.js';
import { createJobResults } from './jobs/job-results.js';
import { createJobs } from './jobs/jobs.js';
import { createPayloads } from './jobs/payloads.js';
import { createPredictionCache } from './jobs/prediction-cache.js';
import { createSettle } from './jobs/settle.js';
import { createJobWriter } from './jobs/submission/job-writer.js';
import { createSubmission } from './jobs/submission/submission.js';
import { createCanaries } from './models/canaries.js';
import { createCrashBlocklist } from './models/crash-blocklist.js';
import { createFetchedVersions } from './models/fetched-versions.js';
import { createModels } from './models/models.js';
import { createShadows } from './models/shadows.js';
import { createVersionBlobs } from './models/version-blobs.js';
import { createVersionOutcomes } from './models/version-outcomes.js';
import { createVersionPurge } from './models/version-purge.js';
import { createVersionRepository } from './models/version-repository.js';
import { createQueueStatus } from './queues/queue-status.js';
import { createWakeTickets, type Transport } from './queues/wake-tickets.js';
import { createAutoscale } from './scaling/autoscale.js';
import { createDeliveries } from './webhooks/deliveries.js';
import { createDeliveryLog } from './webhooks/delivery-log.js';
import { createEndpoints } from './webhooks/endpoints.js';
import { createFanOut } from './webhooks/fan-out.js';
import { createWorkers } from './workers/workers.js';

export interface CoreConnections {
  /** Carries the core's own commands, and none of BullMQ's. */
  redis: Redis;
  /** Carries wake tickets to the workers of a version. */
  transport: Transport;
  /** Calls drivers to batches. */
  batchQueue: Pick<BatchQueue, 'add'>;
  blobs: BlobStore;
  clock: Clock;
  /** Hears of a fault that the core repairs by itself later. */
  onError: (kind: string, error: unknown) => void;
  /** Hears of each job that is made. */
  onSubmitted?: ((record: JobRecord) => void) | undefined;
}

export type Core = ReturnType<typeof composeCore>;

/**
 * Returns the nouns of the core.
 * @throws ConfigError when SLUICE_WEBHOOK_ALLOW_PRIVATE, SLUICE_TENANT_WEIGHTS or SLUICE_TENANT_RETENTION_SECONDS has a wrong form.
 */
export function composeCore(config: Config, connections: CoreConnections) {
  const { redis, transport, batchQueue, blobs, clock, onError, onSubmitted = () => undefined } = connections;
  const keys = createKeys(config.SLUICE_KEY_PREFIX);
  const limits = jobLimitsOf(config);

  const apiKeys = createApiKeys({ redis, keys, clock });
  const workers = createWorkers({ redis, keys, clock });
  const signedAddresses = createSignedAddresses({ redis, keys, clock });
  const files = createFiles({
    redis,
    keys,
    blobs,
    signedAddresses,
    clock,
    retentionSeconds: limits.fileRetentionSeconds,
  });

  const models = createModels({ redis, keys, clock });
  const versionBlobs = createVersionBlobs({ redis, keys, blobs, clock });
  const repository = createVersionRepository({ versionBlobs, models, clock, config });
  const fetchedVersions = createFetchedVersions({ versionBlobs, models, clock, config });
  const versionOutcomes = createVersionOutcomes({ redis, keys, clock });
  const canaries = createCanaries({ redis, keys, clock, outcomes: versionOutcomes });
  const crashBlocklist = createCrashBlocklist({ redis, keys, clock });

  const wakeTickets = createWakeTickets({ redis, keys, transport, onError });
  const settleJobs = createSettle({ redis, keys });
  const results = createJobResults(files);
  const payloads = createPayloads(blobs, results);
  const predictionCache = createPredictionCache({ redis, keys });
  const versionPurge = createVersionPurge({ redis, keys, versionBlobs, predictionCache, wakeTickets });
  const jobs = createJobs({ redis, keys, settleJobs, payloads });
  const jobWriter = createJobWriter({
    redis,
    keys,
    jobs,
    wakeTickets,
    settleJobs,
    payloads,
    predictionCache,
    limits,
    clock,
  });
  const executions = createExecutions({ redis, keys, wakeTickets, limits });
  const dueIndex = createDueIndex({ redis, keys, jobs, wakeTickets, transport, payloads, blobs, limits });
  const queueStatus = createQueueStatus({ redis, keys, wakeTickets });
  const autoscale = createAutoscale({
    redis,
    keys,
    models,
    queueStatus,
    workers,
    targetSeconds: config.SLUICE_TARGET_DRAIN_SECONDS,
    clock,
  });
  const shadows = createShadows({ redis, keys, jobs, clock });

  const batches = createBatches({ redis, keys, queue: batchQueue, limits, onError });
  const batchUpkeep = createBatchUpkeep({ redis, keys, blobs, queue: batchQueue });

  const endpoints = createEndpoints({
    redis,
    keys,
    clock,
    rules: createAddressRules(list(config.SLUICE_WEBHOOK_ALLOW_PRIVATE)),
    maxPerTenant: config.SLUICE_MAX_ENDPOINTS_PER_TENANT,
  });
  const deliveries = createDeliveries({ redis, keys, clock, maxKept: config.SLUICE_MAX_DELIVERIES_KEPT });
  const deliveryLog = createDeliveryLog({ redis, keys, deliveries });
  const fanOut = createFanOut({ redis, keys, endpoints, deliveries, models });

  const submission = createSubmission({
    jobs,
    jobWriter,
    models,
    files,
    endpoints,
    clock,
    maxInstances: config.SLUICE_MAX_INSTANCES,
    maxFileBytes: config.SLUICE_MAX_BODY_BYTES,
    onSubmitted,
  });

  return {
    keys,
    apiKeys,
    signedAddresses,
    workers,
    files,
    models,
    repository,
    versionBlobs,
    fetchedVersions,
    versionPurge,
    versionOutcomes,
    canaries,
    crashBlocklist,
    wakeTickets,
    results,
    payloads,
    predictionCache,
    jobs,
    jobWriter,
    executions,
    dueIndex,
    queueStatus,
    autoscale,
    shadows,
    batches,
    batchUpkeep,
    endpoints,
    deliveries,
    deliveryLog,
    fanOut,
    submission,
  };
}
