/**
 * The OpenAPI 3.1 document, collected from the operations of all routes and the schemas that they name.
 */
import { VERSION } from '../../shared/base/version.js';
import { batchViewSchema, createBatchSchema } from '../../shared/contract/batch.js';
import { fileViewSchema } from '../../shared/contract/file.js';
import { submitSchema } from '../../shared/contract/job.js';
import { jobViewSchema } from '../../shared/contract/job-view.js';
import { putAliasSchema } from '../../shared/contract/models/alias.js';
import { modelViewSchema, versionViewSchema } from '../../shared/contract/models/model-view.js';
import { autoscaleViewSchema, queueViewSchema } from '../../shared/contract/queue-view.js';
import { signAddressSchema, signedAddressViewSchema } from '../../shared/contract/signed-address.js';
import {
  deliveryViewSchema,
  replaySchema,
  wholeDeliveryViewSchema,
} from '../../shared/contract/webhooks/delivery.js';
import {
  createEndpointSchema,
  endpointViewSchema,
  newEndpointViewSchema,
  patchEndpointSchema,
} from '../../shared/contract/webhooks/endpoint.js';
import { workerViewSchema } from '../../shared/contract/worker-view.js';
import { pathsOf, ref } from '../http/operations.js';
import { problemSchema } from '../http/problem.js';
import { batchOperations } from '../routes/batches.js';
import { bulkOperations, bulkResultsSchema } from '../routes/bulk.js';
import { deliveryOperations } from '../routes/deliveries.js';
import { docOperations } from '../routes/docs.js';
import { eventOperations } from '../routes/events.js';
import { fileOperations } from '../routes/files.js';
import { healthOperations } from '../routes/health.js';
import { jobRetryOperations } from '../routes/job-retries.js';
import { jobOperations } from '../routes/jobs.js';
import { modelRemovalOperations } from '../routes/model-removal.js';
import { modelOperations } from '../routes/models.js';
import { queueOperations } from '../routes/queues.js';
import { startOperations } from '../routes/start.js';
import { webhookOperations } from '../routes/webhooks.js';
import { workerOperations } from '../routes/workers.js';

const OPERATIONS = {
  ...jobOperations,
  ...bulkOperations,
  ...jobRetryOperations,
  ...eventOperations,
  ...fileOperations,
  ...batchOperations,
  ...modelOperations,
  ...modelRemovalOperations,
  ...webhookOperations,
  ...deliveryOperations,
  ...workerOperations,
  ...queueOperations,
  ...healthOperations,
  ...docOperations,
  ...startOperations,
};

/** Returns the document; `maxInstances` of a job is the operator's choice. */
export function openApiDocument({ maxInstances }: { maxInstances: number }) {
  return {
    openapi: '3.1.0',
    info: {
      title: 'Sluice',
      version: VERSION,
      description:
        'Queue-based asynchronous inference. A parameter in a query that a call does not name here is refused with 422.',
    },
    security: [{ apiKey: [] }],
    paths: pathsOf(OPERATIONS),
    components: {
      securitySchemes: { apiKey: { type: 'http', scheme: 'bearer' } },
      schemas: schemasWith(maxInstances),
    },
  };
}

function schemasWith(maxInstances: number) {
  const { instances } = submitSchema.properties;
  const versions = { type: 'array', items: ref('ModelVersion') };
  return {
    Submit: {
      ...submitSchema,
      properties: { ...submitSchema.properties, instances: { ...instances, maxItems: maxInstances } },
    },
    Job: jobViewSchema,
    BulkResults: bulkResultsSchema,
    SignAddress: signAddressSchema,
    SignedAddress: signedAddressViewSchema,
    File: fileViewSchema,
    CreateBatch: createBatchSchema,
    Batch: batchViewSchema,
    ModelVersion: versionViewSchema,
    Model: { ...modelViewSchema, properties: { ...modelViewSchema.properties, versions } },
    PutAlias: putAliasSchema,
    CreateWebhookEndpoint: createEndpointSchema,
    PatchWebhookEndpoint: patchEndpointSchema,
    WebhookEndpoint: endpointViewSchema,
    NewWebhookEndpoint: newEndpointViewSchema,
    Delivery: deliveryViewSchema,
    WholeDelivery: wholeDeliveryViewSchema,
    Replay: replaySchema,
    Worker: workerViewSchema,
    Queue: queueViewSchema,
    Autoscale: autoscaleViewSchema,
    Problem: problemSchema,
  };
}
