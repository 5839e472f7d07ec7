/**
 * Every key of ours in Redis. All share one hash tag, so that a script may touch several of them in a cluster.
 * BullMQ's keys begin with the same prefix and a queue's name (`inference-<model>`, `webhooks`).
 */
export type Keys = ReturnType<typeof createKeys>;

/** Returns the keys of one installation; `prefix` tells it from others in the same Redis. */
export function createKeys(prefix: string) {
  return {
    /** Hash: the record of a job, its input and output included. */
    job: (id: string) => `${prefix}:job:${id}`,
    /** Sorted set: queued jobs of a version in the order in which they start. */
    waiting: (model: string, version: number) => `${prefix}:waiting:${model}:${version}`,
    /**
     * Hash: state of a version's queue. {given, out, outSince}: tickets, and the one that nobody has taken yet. {held:<ticket>}:
     * its tenure, last turn, and last job that was sent to it. {standby, rung, rungAt}: workers that wait to be rung, and the one that was. {uses}: jobs and batches that have not ended. {tag:<rank>, tag:<rank>:<tenant>}: fair sharing. {startedJobs, busyMs, measuredAt, backlog}: rate of starting. {submitted, started}: jobs, ever.
     */
    queue: (model: string, version: number) => `${prefix}:queue:${model}:${version}`,
    /** String: what is remembered of a model to scale its workers. */
    scaling: (model: string) => `${prefix}:scaling:${model}`,
    /** Hash: model -> since when no job of it is started. */
    paused: `${prefix}:paused`,
    /** Set: jobs taken under a ticket that have not ended. */
    taken: (model: string, version: number, ticket: string) =>
      `${prefix}:taken:${model}:${version}:${ticket}`,
    /** Sorted set: hashes of inputs that bring a version's backend down, by the second until which they are refused. */
    crashBlocklist: (model: string, version: number) => `${prefix}:poisons:${model}:${version}`,
    /** Sorted set: every record by the time at which upkeep must look at it next. */
    dueIndex: `${prefix}:agenda`,
    /** Sorted set, all scores 0: a tenant's jobs; ids sort by time. */
    tenantJobs: (tenant: string) => `${prefix}:tenant:${tenant}:jobs`,
    /** Hash: `tenant:<tenant>`, `model:<model>` -> number of queued jobs; `tenant-bytes:…`, `model-bytes:…` -> of their input. */
    queued: `${prefix}:queued`,
    /** Hash {fingerprint, job | batch | endpoint | file}: an Idempotency-Key that was used. */
    idempotency: (tenant: string, route: string, keyHash: string) =>
      `${prefix}:idempotency:${tenant}:${route}:${keyHash}`,
    /** String: the record of a file. */
    file: (id: string) => `${prefix}:file:${id}`,
    /** Sorted set, all scores 0: a tenant's files; ids sort by time. */
    tenantFiles: (tenant: string) => `${prefix}:tenant:${tenant}:files`,
    /** Sorted set: every file by the time at which it expires. */
    files: `${prefix}:files`,
    /** String: the secret with which addresses are signed. */
    addressSecret: `${prefix}:download-secret`,
    /** Hash: the record of a batch, and what its driver has stored. */
    batch: (id: string) => `${prefix}:batch:${id}`,
    /** Sorted set, all scores 0: a tenant's batches; ids sort by time. */
    tenantBatches: (tenant: string) => `${prefix}:tenant:${tenant}:batches`,
    /** Sorted set: every batch by the time at which upkeep must look at it next. */
    batches: `${prefix}:batches`,
    /** Hash: tenant -> number of its batches that have not ended. */
    openBatches: `${prefix}:open-batches`,
    /** Stream: events written by the script that ended their job, not yet made deliveries. */
    outbox: `${prefix}:outbox`,
    /** Hash: tenant -> events that its endpoints are told, as ",job.failed,": who ends a job looks here. */
    subscribed: `${prefix}:subscribed`,
    /** Hash: a webhook endpoint. */
    endpoint: (id: string) => `${prefix}:endpoint:${id}`,
    /** Sorted set, all scores 0: a tenant's endpoints; ids sort by time. */
    tenantEndpoints: (tenant: string) => `${prefix}:tenant:${tenant}:endpoints`,
    /** Hash: a delivery with its body and its state. */
    delivery: (id: string) => `${prefix}:delivery:${id}`,
    /** List: JSON of a delivery's attempts. */
    attempts: (delivery: string) => `${prefix}:attempts:${delivery}`,
    /** Sorted set, all scores 0: deliveries to an endpoint, or (null) to webhooks of a tenant's jobs; ids sort by time. */
    deliveryLog: (tenant: string, endpoint: string | null) =>
      `${prefix}:tenant:${tenant}:deliveries:${endpoint ?? 'jobs'}`,
    /** Sorted set, all scores 0: the deliveries of a log that have ended. */
    endedDeliveries: (tenant: string, endpoint: string | null) =>
      `${prefix}:tenant:${tenant}:deliveries-ended:${endpoint ?? 'jobs'}`,
    /** Sorted set: pending deliveries by the time from which the queue must have lost them. */
    deliveryDueIndex: `${prefix}:delivery-agenda`,
    /** Set: pending deliveries of an endpoint that is not enabled. */
    held: (endpoint: string) => `${prefix}:held:${endpoint}`,
    /** Set: endpoints that are enabled again and still have held deliveries. */
    releasing: `${prefix}:releasing`,
    /** String: the secret with which a tenant's own webhooks are signed. */
    signingSecret: (tenant: string) => `${prefix}:tenant:${tenant}:signing-secret`,
    /** Hash: an API key by the SHA-256 of it. */
    apiKey: (hash: string) => `${prefix}:api-key:${hash}`,
    /** Set: names of all models. */
    models: `${prefix}:models`,
    /** Number of changes of what there is to serve: another means that a worker has to look. */
    modelsRevision: `${prefix}:models-revision`,
    /** Sorted set: retired versions as <model>@<version>, and models that are being deleted, by the time at which upkeep looks at them. */
    purges: `${prefix}:purges`,
    /** Hash: model that was deleted -> the highest number of its versions, which nobody gets again. It stays for ever. */
    versionNumbers: `${prefix}:version-numbers`,
    /** Hash: a model's versions, their states and aliases. */
    model: (name: string) => `${prefix}:model:${name}`,
    /** Set: aliases with a canary that runs, as <model>@<alias>. */
    canaries: `${prefix}:canaries`,
    /** Hash {succeeded, failed, ms:<bucket>}: jobs of a version that ended since a canary began beside it. */
    versionOutcomes: (model: string, version: number) => `${prefix}:outcomes:${model}:${version}`,
    /** String: packed predictions, kept for equal jobs of the tenant. */
    cachedPredictions: (tenant: string, model: string, version: number, hash: string) =>
      `${prefix}:answer:${tenant}:${model}:${version}:${hash}`,
    /** Sorted set: the keys of a version's kept predictions, by the time at which they end. */
    answers: (model: string, version: number) => `${prefix}:answers:${model}:${version}`,
    /** Set: ids of workers. */
    workers: `${prefix}:workers`,
    /** String: what a worker last said of itself. */
    worker: (id: string) => `${prefix}:worker:${id}`,
    /** Hash {compared, agreed, failed}: predictions of a version as a shadow beside those that callers got. */
    agreement: (model: string, version: number) => `${prefix}:agreement:${model}:${version}`,
    /** Channel: ids of jobs that have just ended, separated by spaces. */
    ended: `${prefix}:ended`,
    /** Channel: ends of jobs that a process waits for. */
    awaited: (process: string) => `${prefix}:awaited:${process}`,
    /** Channel: ids of jobs that have changed without an end (started, queued again, further on), separated by spaces. */
    changed: `${prefix}:changed`,
    /** Channel: tenures of a worker that are to take jobs, and jobs that are sent to them. */
    bell: (worker: string) => `${prefix}:bell:${worker}`,
    /** Channel: ids of running jobs that were canceled, separated by spaces. */
    stopped: `${prefix}:stopped`,
  };
}
