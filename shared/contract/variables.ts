/**
 * The table of environment variables. It is the source of their types, their checks (config.ts) and the table in deploy/configuration.md.
 */
import type { VariableTable } from '../base/config.js';
import { defaultCacheFolder } from './cache-folder.js';

export const VARIABLES = {
  PORT: {
    type: 'integer',
    minimum: 0,
    maximum: 65535,
    default: 8080,
    description: 'Port of the API; 0 takes a free one.',
  },
  HOST: { type: 'string', default: '127.0.0.1', description: 'Address the API listens on.' },
  REDIS_URL: {
    type: 'string',
    secret: true,
    pattern: '^(redis|rediss|unix)://',
    form: 'must begin with redis://, rediss:// or unix://',
    description: 'Redis to use; unset: the one that the launcher runs.',
  },
  LOG_LEVEL: {
    type: 'string',
    enum: ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'],
    default: 'info',
    description: 'Least severe log line written.',
  },
  SLUICE_DATA_DIR: {
    type: 'string',
    default: '.sluice',
    description: 'Data of the embedded Redis, blobs, uploaded models, the printed API key.',
  },
  SLUICE_CACHE_DIR: {
    type: 'string',
    default: defaultCacheFolder(),
    description: 'Place of what was fetched or built once; `.sluice/cache` where the home cannot be written.',
  },
  SLUICE_MODELS_DIR: {
    type: 'string',
    default: 'deploy/models',
    pattern: '^(?!s3:)|^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9_-]+)*$',
    form: 'must be a folder or s3://bucket/prefix',
    description: 'Folder of bundled models, or s3://bucket/prefix of them: <name>/<version>/model.yaml.',
  },
  SLUICE_BLOBS: {
    type: 'string',
    pattern: '^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9_-]+)*$',
    form: 'must be s3://bucket/prefix',
    description: 'Place of blobs, as s3://bucket/prefix; unset: the folder `blobs` of SLUICE_DATA_DIR.',
  },
  SLUICE_BLOBS_ENDPOINT: {
    type: 'string',
    pattern: '^https?://',
    form: 'must begin with https:// or http://',
    description: 'URL of the S3 server; unset: that of AWS for the region.',
  },
  SLUICE_BLOBS_REGION: {
    type: 'string',
    default: 'us-east-1',
    description: 'Region of the bucket.',
  },
  SLUICE_BLOBS_ACCESS_KEY: {
    type: 'string',
    description: 'Access key for the bucket; unset: credentials where the AWS SDK looks for them.',
  },
  SLUICE_BLOBS_SECRET_KEY: {
    type: 'string',
    secret: true,
    description: 'Secret of that access key.',
  },
  SLUICE_BOOTSTRAP_KEY: {
    type: 'string',
    secret: true,
    pattern: '^slk_[0-9A-Za-z]{22,}$',
    form: 'must be slk_ and at least 22 letters and digits',
    description: 'If set, this API key exists for the tenant `default` with every scope.',
  },
  SLUICE_BACKEND: {
    type: 'string',
    enum: ['auto', 'cuda', 'native', 'wasm', 'cpu'],
    default: 'auto',
    description: 'What computes; `auto` takes for each model version the fastest that loads.',
  },
  SLUICE_ROLES: {
    type: 'string',
    pattern: '^(inference|delivery|batches|upkeep)(,(inference|delivery|batches|upkeep))*$',
    form: 'must name some of inference, delivery, batches and upkeep, comma-separated',
    default: 'inference,delivery,batches,upkeep',
    description: 'What a worker does, comma-separated.',
  },
  SLUICE_MODELS: {
    type: 'string',
    default: '',
    description: 'Names of the models a worker serves, comma-separated; empty: all.',
  },
  SLUICE_MODEL_BYTES: {
    type: 'integer',
    minimum: 0,
    default: 0,
    description: 'Weights of models that a worker keeps loaded; the least recently used make room; 0: all.',
  },
  SLUICE_CHILDREN: {
    type: 'integer',
    minimum: 1,
    maximum: 64,
    description: 'Processes that compute, for each backend, and share the cores; unset: 1, `cuda` 1 a GPU.',
  },
  SLUICE_CHILD_MAX_BATCHES: {
    type: 'integer',
    minimum: 0,
    default: 0,
    description: 'Batches after which the process that computes is replaced in good order; 0: never.',
  },
  SLUICE_CHILD_MAX_RSS_BYTES: {
    type: 'integer',
    minimum: 0,
    default: 0,
    description: 'Memory above which it is replaced, 100 batches apart at least; 0: never.',
  },
  SLUICE_ALLOW_UNSAFE_REDIS: {
    type: 'boolean',
    default: false,
    description: 'Start on a Redis that evicts keys or keeps no append-only file (jobs can be lost).',
  },
  SLUICE_WEBHOOK_ALLOW_PRIVATE: {
    type: 'string',
    default: '',
    description: 'CIDR list of non-public addresses that webhooks may reach, by http and on any port too.',
  },
  SLUICE_METRICS_PORT: {
    type: 'integer',
    minimum: 0,
    maximum: 65535,
    description:
      'Port of /metrics on loopback; unset: API 18080, worker a free one, under `npm start` 18081.',
  },
  SLUICE_KEY_PREFIX: {
    type: 'string',
    pattern: '^\\{[A-Za-z0-9_-]+\\}$',
    form: 'must be letters, digits, _ and - in braces',
    default: '{sluice}',
    description: 'Prefix of every Redis key, a hash tag in braces.',
  },
  SLUICE_MAX_BODY_BYTES: {
    type: 'integer',
    minimum: 1024,
    default: 8 * 1024 * 1024,
    description: 'Largest JSON body, and most bytes of files that its jobs name.',
  },
  SLUICE_MAX_FILE_BYTES: {
    type: 'integer',
    minimum: 1,
    default: 2 * 1024 ** 3,
    description: 'Most bytes of an uploaded file, or model version.',
  },
  SLUICE_MAX_DEPTH: {
    type: 'integer',
    minimum: 2,
    maximum: 64,
    default: 8,
    description: 'Deepest nesting of a JSON body.',
  },
  SLUICE_MAX_INSTANCES: {
    type: 'integer',
    minimum: 1,
    default: 1024,
    description: 'Most instances in a job.',
  },
  SLUICE_MAX_WAIT_SECONDS: {
    type: 'integer',
    minimum: 1,
    maximum: 300,
    default: 60,
    description: 'Longest a request is held for a result.',
  },
  SLUICE_MAX_WAITS_PER_TENANT: {
    type: 'integer',
    minimum: 1,
    default: 1000,
    description: 'Most held requests of a tenant, per API process.',
  },
  SLUICE_MAX_STREAMS_PER_TENANT: {
    type: 'integer',
    minimum: 1,
    default: 1000,
    description: 'Most open event streams of a tenant, per API process.',
  },
  SLUICE_MAX_QUEUED_PER_TENANT: {
    type: 'integer',
    minimum: 1,
    default: 10_000,
    description: 'Most queued jobs of a tenant (429 beyond).',
  },
  SLUICE_MAX_QUEUED_PER_MODEL: {
    type: 'integer',
    minimum: 1,
    default: 100_000,
    description: 'Most queued jobs of a model (503 beyond).',
  },
  SLUICE_MAX_QUEUED_BYTES_PER_TENANT: {
    type: 'integer',
    minimum: 1,
    default: 2 * 1024 ** 3,
    description: 'Most input of queued jobs of a tenant (429 beyond).',
  },
  SLUICE_MAX_QUEUED_BYTES_PER_MODEL: {
    type: 'integer',
    minimum: 1,
    default: 8 * 1024 ** 3,
    description: 'Most input of queued jobs of a model (503 beyond).',
  },
  SLUICE_MAX_BATCHES_PER_TENANT: {
    type: 'integer',
    minimum: 1,
    default: 100,
    description: 'Most batches of a tenant that have not ended (429 beyond).',
  },
  SLUICE_MAX_ENDPOINTS_PER_TENANT: {
    type: 'integer',
    minimum: 1,
    default: 20,
    description: 'Most webhook endpoints of a tenant (429 beyond).',
  },
  SLUICE_MAX_DELIVERIES_KEPT: {
    type: 'integer',
    minimum: 100,
    default: 100_000,
    description: "Most deliveries kept of an endpoint, and of a tenant's single jobs, about 1 kB each.",
  },
  SLUICE_TENANT_WEIGHTS: {
    type: 'string',
    default: '',
    description: 'Shares of a busy queue: tenant=weight, comma-separated; 1 for others.',
  },
  SLUICE_AGING_SECONDS: {
    type: 'integer',
    minimum: 1,
    default: 600,
    description: 'A job that has waited so long goes before its priority.',
  },
  SLUICE_TENANT_RETENTION_SECONDS: {
    type: 'string',
    default: '',
    description: 'Tenants whose finished jobs are kept for another time: tenant=seconds, comma-separated.',
  },
  SLUICE_MAX_ATTEMPTS: {
    type: 'integer',
    minimum: 1,
    maximum: 10,
    default: 3,
    description: 'Executions of a job that fails for a reason that may go away.',
  },
  SLUICE_MEMORY_WATERMARK: {
    type: 'integer',
    minimum: 1,
    maximum: 100,
    default: 75,
    description: "Percent of Redis' maxmemory above which no job is taken.",
  },
  SLUICE_RETENTION_SECONDS: {
    type: 'integer',
    minimum: 1,
    default: 86_400,
    description: 'How long a finished job is kept.',
  },
  SLUICE_FILE_RETENTION_SECONDS: {
    type: 'integer',
    minimum: 1,
    default: 7 * 86_400,
    description: 'How long an uploaded file is kept.',
  },
} as const satisfies VariableTable;

/** The variables of the command `sluice` alone. All other processes know and ignore them. */
export const COMMAND_VARIABLES = {
  SLUICE_URL: {
    type: 'string',
    pattern: '^https?://[^/?#@]+(/[^?#]*)?$',
    form: 'must be an http:// or https:// address without user, query and fragment',
    description: 'Where the API is; unset: the address of the launcher, else port 8080 of this machine.',
  },
  SLUICE_API_KEY: {
    type: 'string',
    secret: true,
    pattern: '^[!-~]+$',
    form: 'must be one word of ASCII letters, digits and signs',
    description: 'Key for it; unset: SLUICE_BOOTSTRAP_KEY, else the key that the launcher keeps.',
  },
} as const satisfies VariableTable;
