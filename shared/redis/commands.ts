/**
 * The commands of Sluice in Redis, each a script in lua/: the names of its keys and arguments, in the order of the script, and
 * the form of its reply. A script says at its head what it does, promises and replies; load-script.ts checks the names.
 */

/** Fields of a record, as HSET takes them. */
const FIELDS = ['field', 'value'] as const;

/** The names and the reply of a script. */
export interface Command {
  keys: readonly string[];
  args: readonly string[];
  /** The names of the values that follow the arguments, once for each of any number of entries. */
  each?: readonly string[];
  reply: 'nothing' | 'number' | 'string' | 'strings' | 'buffers';
}

export const COMMANDS = {
  'submit-job': {
    keys: [
      'jobKey',
      'waitingKey',
      'dueIndexKey',
      'tenantJobsKey',
      'queuedKey',
      'queueKey',
      'pausedKey',
      'idempotencyKey',
    ],
    args: [
      'id',
      'tenant',
      'model',
      'spec',
      'input',
      'instances',
      'cost',
      'ttlMs',
      'rank',
      'events',
      'maxTenantJobs',
      'maxTenantBytes',
      'maxModelJobs',
      'maxModelBytes',
      'fingerprint',
      'idempotencySeconds',
      'bytes',
      'keptSeconds',
      'checkAfterMs',
      'keyHolds',
    ],
    reply: 'strings',
  },
  'recall-ticket': {
    keys: ['waitingKey', 'queueKey', 'pausedKey'],
    args: ['model'],
    reply: 'string',
  },
  'enqueue-job': {
    keys: ['jobKey', 'waitingKey', 'queueKey'],
    args: ['id', 'rank'],
    reply: 'number',
  },
  'start-jobs': {
    keys: [
      'waitingKey',
      'dueIndexKey',
      'queuedKey',
      'outboxKey',
      'subscribedKey',
      'queueKey',
      'takenKey',
      'pausedKey',
    ],
    args: [
      'ticket',
      'maxInstances',
      'maxBytes',
      'maxStarts',
      'jobPrefix',
      'model',
      'expiredEnd',
      'lostEnd',
      'endedChannel',
      'changedChannel',
      'checkAfterMs',
    ],
    reply: 'buffers',
  },
  'settle-jobs': {
    keys: ['waitingKey', 'dueIndexKey', 'queuedKey', 'outboxKey', 'subscribedKey'],
    args: ['jobPrefix', 'model', 'endedChannel', 'stoppedChannel', 'takenPrefix', 'changedChannel'],
    each: ['id', 'ticket', 'from', 'token', 'status', 'ending', 'output', 'pauseMs', 'attempt'],
    reply: 'strings',
  },
  'report-progress': {
    keys: ['jobKey', 'outboxKey', 'subscribedKey'],
    args: ['id', 'token', 'done', 'total', 'changedChannel', 'eventPeriodMs'],
    reply: 'number',
  },
  'erase-job': {
    keys: ['jobKey', 'tenantJobsKey', 'dueIndexKey'],
    args: ['id'],
    reply: 'string',
  },
  'create-file': {
    keys: ['fileKey', 'tenantFilesKey', 'filesKey', 'idempotencyKey'],
    args: ['id', 'record', 'expiresAt', 'fingerprint', 'idempotencySeconds'],
    reply: 'strings',
  },
  'add-version': {
    keys: ['modelKey', 'modelsKey', 'revisionKey'],
    args: ['version', 'stored', 'description', 'name', 'call'],
    reply: 'number',
  },
  'report-version': {
    keys: ['modelKey', 'outboxKey', 'subscribedKey'],
    args: ['version', 'state', 'report', 'name'],
    reply: 'nothing',
  },
  'move-alias': {
    keys: ['modelKey', 'canariesKey', 'versionOutcomesKey', 'canaryOutcomesKey', 'agreementKey'],
    args: ['alias', 'version', 'canaryVersion', 'canary', 'canaryMember', 'shadowVersion', 'shadow'],
    reply: 'strings',
  },
  'roll-back-canary': {
    keys: ['modelKey', 'canariesKey'],
    args: ['alias', 'judged', 'rolledBack', 'canaryMember'],
    reply: 'number',
  },
  'create-batch': {
    keys: ['batchKey', 'tenantBatchesKey', 'batchesKey', 'openBatchesKey', 'idempotencyKey'],
    args: ['id', 'tenant', 'spec', 'ttlMs', 'maxOpen', 'fingerprint', 'idempotencySeconds', 'checkAfterMs'],
    reply: 'strings',
  },
  'cancel-batch': {
    keys: ['batchKey'],
    args: [],
    reply: 'string',
  },
  'take-batch': {
    keys: ['batchKey'],
    args: [],
    reply: 'strings',
  },
  'report-batch': {
    keys: ['batchKey'],
    args: ['token', 'total', 'counts'],
    reply: 'string',
  },
  'add-batch-part': {
    keys: ['batchKey'],
    args: ['token', 'number', 'part', 'counts'],
    reply: 'string',
  },
  'finish-batch': {
    keys: ['batchKey', 'batchesKey', 'openBatchesKey'],
    args: ['token', 'id', 'tenant', 'status', 'error', 'firstFailure', 'files', 'keptMs'],
    reply: 'string',
  },
  'create-endpoint': {
    keys: ['endpointKey', 'tenantEndpointsKey', 'subscribedKey', 'idempotencyKey'],
    args: ['id', 'tenant', 'endpointPrefix', 'maxEndpoints', 'fingerprint', 'idempotencySeconds'],
    each: FIELDS,
    reply: 'strings',
  },
  'change-endpoint': {
    keys: ['endpointKey', 'tenantEndpointsKey', 'subscribedKey', 'heldKey', 'releasingKey'],
    args: ['id', 'tenant', 'endpointPrefix', 'now', 'enabled'],
    each: FIELDS,
    reply: 'number',
  },
  'rotate-endpoint-secrets': {
    keys: ['endpointKey'],
    args: ['before', 'after'],
    reply: 'number',
  },
  'rotate-tenant-secrets': {
    keys: ['secretsKey'],
    args: ['before', 'after'],
    reply: 'number',
  },
  'remove-endpoint': {
    keys: ['endpointKey', 'tenantEndpointsKey', 'subscribedKey', 'heldKey', 'releasingKey'],
    args: ['id', 'tenant', 'endpointPrefix'],
    reply: 'number',
  },
  'create-delivery': {
    keys: ['deliveryKey', 'logKey', 'dueIndexKey', 'endpointKey', 'endedKey'],
    args: [
      'id',
      'keptMs',
      'nextAt',
      'leastId',
      'maxEntries',
      'deliveryPrefix',
      'attemptsPrefix',
      'endpoint',
      'lookAfterMs',
    ],
    each: FIELDS,
    reply: 'string',
  },
  'record-attempt': {
    keys: [
      'deliveryKey',
      'attemptsKey',
      'dueIndexKey',
      'endpointKey',
      'outboxKey',
      'subscribedKey',
      'endedKey',
    ],
    args: [
      'id',
      'statusAfter',
      'nextAttemptAt',
      'attempt',
      'lastAttempt',
      'now',
      'endpoint',
      'gone',
      'disableAfterMs',
      'attemptsBefore',
      'keptMs',
      'dueAt',
      'lookAfterMs',
      'quietMs',
    ],
    reply: 'strings',
  },
  'hold-delivery': {
    keys: ['deliveryKey', 'endpointKey', 'dueIndexKey', 'heldKey'],
    args: ['id'],
    reply: 'number',
  },
  'release-deliveries': {
    keys: ['endpointKey', 'heldKey', 'releasingKey', 'dueIndexKey'],
    args: ['endpoint', 'count', 'lookAt'],
    reply: 'strings',
  },
  'replay-delivery': {
    keys: ['deliveryKey', 'dueIndexKey', 'endedKey'],
    args: ['id', 'now'],
    reply: 'number',
  },
} as const satisfies Record<string, Command>;
