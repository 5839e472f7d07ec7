/**
 * Fan-out: creates a delivery for each subscription to an event of the outbox.
 *
 * An endpoint gets no event that happened before the endpoint was created. To fan the same event out twice creates its deliveries
 * once.
 */
import { toTimestamp } from '../../base/clock.js';
import { SluiceError } from '../../contract/errors.js';
import { isTerminal, type JobRecord } from '../../contract/job.js';
import { type JobView, presentJob } from '../../contract/job-view.js';
import { presentPredictions } from '../../contract/tensors/prediction.js';
import { type Endpoint, presentEndpoint } from '../../contract/webhooks/endpoint.js';
import {
  type EventType,
  isProgressEvent,
  JOB_EVENTS,
  MAX_INSTANCE_ERRORS,
  MAX_PREDICTIONS_BYTES,
  type WebhookBody,
} from '../../contract/webhooks/events.js';
import type { Redis } from '../../redis/connect.js';
import type { Keys } from '../../redis/keys.js';
import { decodeRecord, RECORD_FIELDS } from '../jobs/job-record.js';
import type { Models } from '../models/models.js';
import type { CreatedDelivery, Deliveries, NewDelivery } from './deliveries.js';
import type { Endpoints } from './endpoints.js';
import type { OutboxEvent } from './outbox.js';

/** Packed predictions above this size are not read, because their JSON would exceed `MAX_PREDICTIONS_BYTES` anyway. */
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

/** The subject of an event, and who may hear of it. */
interface Subject {
  /** The tenant who may hear of the event; null when every tenant may. */
  tenant: string | null;
  job: JobRecord | null;
  data: object;
}

/** Returns the fan-out. Every function rejects when Redis fails. */
export function createFanOut({ redis, keys, endpoints, deliveries, models }: FanOutDeps) {
  /**
   * Begins the fan-out of events that have already been read. The returned function takes one event and returns the deliveries of
   * it, or null when the subject of the event is no longer kept. It reads the endpoints of a tenant once for all events; that
   * copy cannot be too old, because it is read after the events.
   */
  function begin(): (event: OutboxEvent) => Promise<CreatedDelivery[] | null> {
    const known = new Map<string | null, Promise<Endpoint[]>>();
    const endpointsOf = (tenant: string | null) => {
      const found = known.get(tenant) ?? endpoints.subscribed(tenant);
      known.set(tenant, found);
      return found;
    };
    return (event) => fanOut(event, endpointsOf);
  }

  async function fanOut(event: OutboxEvent, endpointsOf: EndpointsOf): Promise<CreatedDelivery[] | null> {
    const subject = await subjectOf(event);
    if (!subject) return null;
    // Progress is outdated once the job has ended.
    if (isProgressEvent(event.type) && subject.job && isTerminal(subject.job.status)) return [];
    const subscribed = (await endpointsOf(subject.tenant)).filter(({ events }) =>
      events.some((type) => type === event.type),
    );
    // An endpoint gets no event about itself. It could receive that it was disabled only once it is enabled again.
    const told = subscribed.filter(({ id, createdAt }) => createdAt <= event.at && id !== event.endpoint);
    const subscriptions: Subscription[] = [...ownWebhook(event, subject), ...told];
    return Promise.all(subscriptions.map((subscription) => createOne(event, subject, subscription)));
  }

  async function createOne(
    event: OutboxEvent,
    subject: Subject,
    { id, tenant, url, includePredictions }: Subscription,
  ): Promise<CreatedDelivery> {
    const { job } = subject;
    const predictions = job && includePredictions ? await readPredictions(job.spec.id) : null;
    const isOmitted = includePredictions && !predictions && event.type === 'job.succeeded';
    const data = {
      ...subject.data,
      ...(predictions && { predictions }),
      ...(isOmitted && { predictionsOmitted: true }),
    };
    return deliveries.create({
      event: event.id,
      tenant,
      to: id === null ? url : { id },
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
      return { tenant: job.spec.tenant, job, data: bounded(data) };
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

  /** Returns the predictions of a job, or null when there are none or their JSON is too large for a body. */
  async function readPredictions(job: string): Promise<unknown[] | null> {
    if ((await redis.hstrlen(keys.job(job), 'output')) > MAX_PACKED_BYTES) return null;
    const output = await redis.hgetBuffer(keys.job(job), 'output');
    const predictions = output && presentPredictions(output);
    return predictions && byteLength(predictions) <= MAX_PREDICTIONS_BYTES ? predictions : null;
  }

  /**
   * Sends a test event to an endpoint, whatever events it subscribes to, and returns the id of the delivery, whose attempt is due at
   * once. `event` is a new id; `at` is the time of the event in milliseconds since the Unix epoch.
   *
   * @throws {SluiceError} `too_many_deliveries` when the log of the endpoint is full of pending deliveries
   */
  async function test(endpoint: Endpoint, event: string, at: number): Promise<string> {
    const delivery: NewDelivery = {
      event,
      tenant: endpoint.tenant,
      to: endpoint,
      type: 'endpoint.test',
      job: null,
      body: JSON.stringify(bodyOf('endpoint.test', at, presentEndpoint(endpoint))),
      at,
      isTest: true,
    };
    const { id, status } = await deliveries.create(delivery);
    if (status === 'dropped') throw new SluiceError('too_many_deliveries');
    await deliveries.replay(id);
    return id;
  }

  return { begin, test };
}

interface Subscription {
  /** The id of the endpoint; null for a job's own webhook. */
  id: string | null;
  tenant: string;
  url: string;
  includePredictions: boolean;
}

/** Returns the webhook that came with the job if it subscribes to the event. */
function ownWebhook({ type }: OutboxEvent, { job }: Subject): Subscription[] {
  const { webhook, tenant } = job?.spec ?? {};
  if (!webhook || !tenant) return [];
  const events: readonly EventType[] = webhook.events ?? JOB_EVENTS;
  if (!events.includes(type)) return [];
  return [{ id: null, tenant, url: webhook.url, includePredictions: webhook.includePredictions ?? false }];
}

function bodyOf(type: EventType, at: number, data: object): WebhookBody {
  return { type, timestamp: toTimestamp(at), data };
}

/** Returns the job with no more instance errors than a receiver takes; what is left out is counted. */
function bounded<D extends Pick<JobView, 'error'>>(data: D): D {
  const { error } = data;
  const all = error?.instanceErrors ?? [];
  if (!error || all.length <= MAX_INSTANCE_ERRORS) return data;
  const instanceErrors = all.slice(0, MAX_INSTANCE_ERRORS);
  const instanceErrorsOmitted = all.length - MAX_INSTANCE_ERRORS;
  return { ...data, error: { ...error, instanceErrors, instanceErrorsOmitted } };
}

function byteLength(value: unknown): number {
  return Buffer.byteLength(JSON.stringify(value));
}
