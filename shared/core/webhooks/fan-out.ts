/**
 * Fan-out: an event of the outbox -> a delivery for each subscription to it.
 *
 * A subscription counts from the event on: an endpoint that was made later is told nothing of it. Doing it twice makes the same
 * deliveries once.
 */
import { toTimestamp } from '../../base/clock.js';
import { SluiceError } from '../../contract/errors.js';
import { isTerminal, type JobRecord, presentJob } from '../../contract/job.js';
import { presentPredictions } from '../../contract/tensors/prediction.js';
import { type Endpoint, presentEndpoint } from '../../contract/webhooks/endpoint.js';
import {
  type EventType,
  isProgressEvent,
  JOB_EVENTS,
  MAX_PREDICTIONS_BYTES,
  type WebhookBody,
} from '../../contract/webhooks/events.js';
import type { Redis } from '../../redis/connect.js';
import type { Keys } from '../../redis/keys.js';
import { decodeRecord, RECORD_FIELDS } from '../jobs/job-record.js';
import type { Models } from '../models/models.js';
import type { Deliveries, Made, NewDelivery } from './deliveries.js';
import type { Endpoints } from './endpoints.js';
import type { OutboxEvent } from './outbox.js';

/** Packed outputs above this are not even read: their JSON cannot be as small as a body's limit. */
const MAX_PACKED_BYTES = 256 * 1024;

export interface FanOutDeps {
  redis: Redis;
  keys: Keys;
  endpoints: Endpoints;
  deliveries: Deliveries;
  models: Models;
}

export type FanOut = ReturnType<typeof createFanOut>;

type EndpointsOf = (tenant: string | null) => Promise<Endpoint[]>;

/** What an event is about, and whose it is: null is everybody's. */
interface Subject {
  tenant: string | null;
  job: JobRecord | null;
  data: object;
}

export function createFanOut({ redis, keys, endpoints, deliveries, models }: FanOutDeps) {
  /**
   * For events that have been read already: what it looks up of a tenant's endpoints it looks up once, and is not too old for
   * any of them. The returned function answers what was made of an event; null when what it is about is no longer kept.
   */
  function begin(): (event: OutboxEvent) => Promise<Made[] | null> {
    const known = new Map<string | null, Promise<Endpoint[]>>();
    const endpointsOf = (tenant: string | null) => {
      const found = known.get(tenant) ?? endpoints.subscribed(tenant);
      known.set(tenant, found);
      return found;
    };
    return (event) => fanOut(event, endpointsOf);
  }

  async function fanOut(event: OutboxEvent, endpointsOf: EndpointsOf): Promise<Made[] | null> {
    const subject = await subjectOf(event);
    if (!subject) return null;
    // How a job was getting on is news only while it does.
    if (isProgressEvent(event.type) && subject.job && isTerminal(subject.job.status)) return [];
    const subscribed = (await endpointsOf(subject.tenant)).filter(({ events }) =>
      events.includes(event.type),
    );
    // Nor is one told of its own end.
    const told = subscribed.filter(({ id, createdAt }) => createdAt <= event.at && id !== event.endpoint);
    return Promise.all([...ownWebhook(event, subject), ...told].map((to) => makeOne(event, subject, to)));
  }

  async function makeOne(event: OutboxEvent, subject: Subject, to: Recipient): Promise<Made> {
    const { job } = subject;
    const predictions = job && to.includePredictions ? await readPredictions(job.spec.id) : null;
    const data = predictions ? { ...subject.data, predictions } : subject.data;
    return deliveries.create({
      event: event.id,
      tenant: to.tenant,
      to: to.id === null ? to.url : { id: to.id },
      type: event.type,
      job: event.job,
      body: JSON.stringify(bodyOf(event.type, event.at, data)),
      at: event.at,
    });
  }

  async function subjectOf(event: OutboxEvent): Promise<Subject | null> {
    if (event.job) {
      const job = decodeRecord(await redis.hmget(keys.job(event.job), ...RECORD_FIELDS));
      if (!job) return null;
      const { predictions: _, ...data } = presentJob(job);
      return { tenant: job.spec.tenant, job, data };
    }
    if (event.endpoint) {
      const endpoint = await endpoints.find(event.endpoint);
      return endpoint && { tenant: endpoint.tenant, job: null, data: presentEndpoint(endpoint) };
    }
    const [name = '', number] = event.version?.split('@') ?? [];
    const model = await models.read(name);
    const version = model?.versions.find(({ manifest }) => manifest.version === Number(number));
    if (!version) return null;
    const { state, backend, error } = version;
    return { tenant: null, job: null, data: { model: name, version: Number(number), state, backend, error } };
  }

  async function readPredictions(job: string): Promise<unknown[] | null> {
    if ((await redis.hstrlen(keys.job(job), 'output')) > MAX_PACKED_BYTES) return null;
    const output = await redis.hgetBuffer(keys.job(job), 'output');
    const predictions = output && presentPredictions(output);
    return predictions && byteLength(predictions) <= MAX_PREDICTIONS_BYTES ? predictions : null;
  }

  /** A test event to one endpoint, whatever it is subscribed to, at once; answers its delivery's id. */
  async function test(endpoint: Endpoint, event: string, at: number): Promise<string> {
    const made: NewDelivery = {
      event,
      tenant: endpoint.tenant,
      to: endpoint,
      type: 'endpoint.test',
      job: null,
      body: JSON.stringify(bodyOf('endpoint.test', at, presentEndpoint(endpoint))),
      at,
      isTest: true,
    };
    const { id, status } = await deliveries.create(made);
    if (status === 'dropped') throw new SluiceError('too_many_deliveries');
    await deliveries.replay(id);
    return id;
  }

  return { begin, test };
}

interface Recipient {
  /** Of an endpoint. */
  id: string | null;
  tenant: string;
  url: string;
  includePredictions: boolean;
}

/** The webhook that came with the job, if it is told of this. */
function ownWebhook({ type }: OutboxEvent, { job }: Subject): Recipient[] {
  const { webhook, tenant } = job?.spec ?? {};
  if (!webhook || !tenant) return [];
  const events: readonly EventType[] = webhook.events ?? JOB_EVENTS;
  if (!events.includes(type)) return [];
  return [{ id: null, tenant, url: webhook.url, includePredictions: webhook.includePredictions ?? false }];
}

function bodyOf(type: EventType, at: number, data: object): WebhookBody {
  return { type, timestamp: toTimestamp(at), data };
}

function byteLength(value: unknown): number {
  return Buffer.byteLength(JSON.stringify(value));
}
