/**
 * The part of the table of environment variables (variables.ts) that bounds what callers may ask for, and how long it is kept.
 */
import type { VariableTable } from '../base/config.js';

export const LIMIT_VARIABLES = {
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
    default: 55,
    description: 'Longest a request is held for a result. Many proxies give up after 60.',
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
  SLUICE_TARGET_DRAIN_SECONDS: {
    type: 'integer',
    minimum: 1,
    maximum: 86_400,
    default: 60,
    description: 'Time within which queued jobs are to start; `/v1/autoscale` asks for workers by it.',
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
  SLUICE_VERSION_RETENTION_SECONDS: {
    type: 'integer',
    minimum: 0,
    default: 30 * 86_400,
    description: 'How long an uploaded version is kept once it is retired; 0: until it is purged.',
  },
} as const satisfies VariableTable;
