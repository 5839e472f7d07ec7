/**
 * Protocols: how each system is asked over HTTP, how a caller learns that its jobs have ended, and where an answer holds what
 * is compared.
 */
import { systemClock as clock, sleep } from '../../../shared/base/clock.js';
import type { Http, Reply } from './http.js';

/** The knowledge that a caller has of one job. */
export type Answer =
  | { kind: 'computed'; probabilities: unknown; batchSize: number }
  /** The answer holds no prediction. */
  | { kind: 'ended' }
  | { kind: 'pending' }
  | { kind: 'wrong'; text: string };

/** The jobs of one bulk submit. */
export const BULK_JOBS = 100;
const PENDING: Answer = { kind: 'pending' };

/** One request, which makes a job for each of its digits. */
export interface Request {
  body: Buffer;
  digits: number[];
}

export interface Exchange {
  /** One for each digit. */
  answers: Answer[];
  polls: number;
}

export interface Protocol {
  headers: Record<string, string>;
  /** Returns the requests that ask for `images` in turn. */
  requestsFor(images: readonly number[][]): Request[];
  /** Resolves once all jobs of the request have ended. */
  exchange(http: Http, request: Request): Promise<Exchange>;
}

export interface ProtocolOptions {
  apiKey: string;
  /** The pause between an answer that a job has not ended and the next time that a poller asks. */
  pollMs: number;
}

interface SluiceJob {
  id: string;
  status: string;
  predictions: unknown[] | null;
  timings: { batchSize: number } | null;
}

type Row = (image: readonly number[]) => unknown;

const JSON_TYPE = { 'content-type': 'application/json' };
/** A row as numbers, or as the bytes of little-endian float32. */
const asNumbers: Row = (image) => image;
const asBytes: Row = (image) => ({ b64: Buffer.from(Float32Array.from(image).buffer).toString('base64') });
const jobOf = (row: Row) => (image: readonly number[]) => ({ model: 'mnist', instances: [row(image)] });

const PROTOCOLS = {
  sluice: (options) => heldSluice(options, asNumbers),
  base64: (options) => heldSluice(options, asBytes),
  pollSluice: ({ apiKey, pollMs }) => ({
    headers: sluiceHeaders(apiKey),
    requestsFor: (images) => oneEach(images, jobOf(asNumbers)),
    exchange: (http, { body }) => poll(http, '/v1/jobs', body, pollMs, readSluice),
  }),
  bulk: (options) => bulk(options, asBytes),
  bulkJson: (options) => bulk(options, asNumbers),
  rival: () => ({
    headers: JSON_TYPE,
    requestsFor: (images) => oneEach(images, (image) => ({ image })),
    exchange: (http, { body }) => once(http, '/predict', body, readRival),
  }),
  pollRival: ({ pollMs }) => ({
    headers: JSON_TYPE,
    requestsFor: (images) => oneEach(images, (image) => ({ image })),
    exchange: (http, { body }) =>
      poll(http, '/jobs', body, pollMs, (reply) => {
        const { state, result } = JSON.parse(reply.text);
        if (state === 'pending') return PENDING;
        return state === 'completed' ? computed(result, 1) : wrong(reply);
      }),
  }),
  bareRoute: () => ({
    headers: JSON_TYPE,
    requestsFor: (images) => oneEach(images, jobOf(asNumbers)),
    exchange: (http, { body }) =>
      once(http, '/', body, (reply) => (reply.status === 200 ? { kind: 'ended' } : wrong(reply))),
  }),
} as const satisfies Record<string, (options: ProtocolOptions) => Protocol>;

export type ProtocolName = keyof typeof PROTOCOLS;

/** Returns the protocol of this name. */
export function protocolOf(name: ProtocolName, options: ProtocolOptions): Protocol {
  return PROTOCOLS[name](options);
}

function heldSluice({ apiKey }: ProtocolOptions, row: Row): Protocol {
  return {
    headers: { ...sluiceHeaders(apiKey), prefer: 'wait=30' },
    requestsFor: (images) => oneEach(images, jobOf(row)),
    exchange: (http, { body }) => once(http, '/v1/jobs', body, readSluice),
  };
}

function bulk({ apiKey }: ProtocolOptions, row: Row): Protocol {
  return {
    headers: { ...sluiceHeaders(apiKey), prefer: 'wait=30' },
    requestsFor: (images) => [
      {
        body: Buffer.from(JSON.stringify({ jobs: images.slice(0, BULK_JOBS).map(jobOf(row)) })),
        digits: Array.from({ length: BULK_JOBS }, (_, index) => index),
      },
    ],
    async exchange(http, { body }) {
      const reply = await http.send('POST', '/v1/jobs/bulk', body);
      if (reply.status !== 200) return { answers: [wrong(reply)], polls: 0 };
      const { results } = JSON.parse(reply.text) as { results: { job?: SluiceJob }[] };
      return { answers: results.map(({ job }) => (job ? readJob(job) : wrong(reply))), polls: 0 };
    },
  };
}

function sluiceHeaders(apiKey: string): Record<string, string> {
  return { ...JSON_TYPE, authorization: `Bearer ${apiKey}` };
}

function oneEach(images: readonly number[][], bodyOf: (image: number[]) => unknown): Request[] {
  return images.map((image, index) => ({
    body: Buffer.from(JSON.stringify(bodyOf(image))),
    digits: [index],
  }));
}

/** A request that is answered when the job has ended. */
async function once(
  http: Http,
  path: string,
  body: Buffer,
  read: (reply: Reply) => Answer,
): Promise<Exchange> {
  const reply = await http.send('POST', path, body);
  return { answers: [read(reply)], polls: 0 };
}

/** Submits, and asks for the job after every pause of `pollMs` until it has ended. */
async function poll(
  http: Http,
  path: string,
  body: Buffer,
  pollMs: number,
  read: (reply: Reply) => Answer,
): Promise<Exchange> {
  const submitted = await http.send('POST', path, body);
  if (submitted.status !== 202) return { answers: [wrong(submitted)], polls: 0 };
  const { id } = JSON.parse(submitted.text) as { id: string };
  for (let polls = 1; ; polls++) {
    await sleep(clock, pollMs);
    const answer = read(await http.send('GET', `${path}/${id}`));
    if (answer !== PENDING) return { answers: [answer], polls };
  }
}

function readSluice(reply: Reply): Answer {
  if (reply.status !== 200) return wrong(reply);
  return readJob(JSON.parse(reply.text) as SluiceJob);
}

function readJob(job: SluiceJob): Answer {
  const { status, predictions, timings } = job;
  if (status === 'queued' || status === 'running') return PENDING;
  if (status !== 'succeeded' || !timings) return { kind: 'wrong', text: JSON.stringify(job).slice(0, 500) };
  return computed(predictions?.[0], timings.batchSize);
}

function readRival(reply: Reply): Answer {
  return reply.status === 200 ? computed(JSON.parse(reply.text), 1) : wrong(reply);
}

function computed(probabilities: unknown, batchSize: number): Answer {
  return { kind: 'computed', probabilities, batchSize };
}

function wrong({ status, text }: Reply): Answer {
  return { kind: 'wrong', text: `${status} ${text.slice(0, 500)}` };
}
