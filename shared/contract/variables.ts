/**
 * The table of environment variables. It is the source of their types, their checks (config.ts) and the table in deploy/configuration.md.
 */
import type { VariableTable } from '../base/config.js';
import { defaultCacheFolder } from './cache-folder.js';
import { LIMIT_VARIABLES } from './limit-variables.js';

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
    pattern: '^((redis|rediss|unix)://|rediss?[+]sentinel://[^/?]+/[^/?]+)',
    form: 'must begin with redis://, rediss:// or unix://, or be redis+sentinel://host,host/name',
    description: 'Redis to use, or the sentinels that know it; unset: the one that the launcher runs.',
  },
  SLUICE_REDIS_WAIT: {
    type: 'integer',
    minimum: 0,
    maximum: 16,
    default: 0,
    description: 'Replicas that must have what a call changed before it is answered (503 otherwise).',
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
  SLUICE_LIBRARIES_DIR: {
    type: 'string',
    description: 'Place of the libraries of backends, which is only read; unset: SLUICE_CACHE_DIR.',
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
    enum: ['auto', 'cuda', 'native', 'wasm', 'cpu', 'onnx'],
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
  SLUICE_VERSION_CACHE_BYTES: {
    type: 'integer',
    minimum: 0,
    default: 10 * 1024 ** 3,
    description: "Uploaded versions on a worker's disk; the least recently used that none serves go; 0: all.",
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
  SLUICE_CORS_ORIGINS: {
    type: 'string',
    default: '',
    pattern: '^(\\*|[a-z][a-z0-9+.-]*://[^/?#@,\\sA-Z]+(,\\s*[a-z][a-z0-9+.-]*://[^/?#@,\\sA-Z]+)*)?$',
    form: 'must be * or origins such as https://app.example.com, in lower case, without a path, comma-separated',
    description: 'Origins whose pages may call the API from a browser, comma-separated; *: all; empty: none.',
  },
  SLUICE_METRICS_HOST: {
    type: 'string',
    default: '127.0.0.1',
    description: 'Address of /metrics, /livez and /readyz, which need no key; 0.0.0.0: all of this machine.',
  },
  SLUICE_METRICS_PORT: {
    type: 'integer',
    minimum: 0,
    maximum: 65535,
    description: 'Port there; unset: API 18080, worker a free one, under `npm start` 18081.',
  },
  SLUICE_KEY_PREFIX: {
    type: 'string',
    pattern: '^\\{[A-Za-z0-9_-]+\\}$',
    form: 'must be letters, digits, _ and - in braces',
    default: '{sluice}',
    description: 'Prefix of every Redis key, a hash tag in braces.',
  },
  ...LIMIT_VARIABLES,
} as const satisfies VariableTable;
