/**
 * Evidence: what was seen from outside while faults were made. Facts only; `checker.ts` judges them.
 *
 * The client writes what it asked and what it was answered, the receivers what came to them, the logs what was executed,
 * and in the end the API and the records what there is.
 */
import { createHash } from 'node:crypto';
import type { JobView } from '../../shared/contract/job-view.js';
import type { JobEndEvent } from '../../shared/contract/webhooks/events.js';

/** The fate of an order's instances: they are computed, or they bring down the process that computes them. */
export type Poison = 'throws' | 'aborts' | 'hangs' | 'swells';

/** A job that a client wants, however often it has to ask for it. */
export interface Order {
  tenant: string;
  /** One instance each: the digit drawn on it. */
  digits: readonly number[];
  key?: string;
  poison?: Poison;
  webhook?: NonNullable<JobView['webhook']>;
  ttlSeconds?: number;
  timeoutSeconds?: number;
  priority?: JobView['priority'];
}

/** `unknown`: no answer, or one that does not tell whether the job exists. */
export type Answer =
  | { is: 'accepted'; job: string; tookMs: number }
  | { is: 'refused'; status: number; code: string; tookMs: number }
  | { is: 'unknown'; why: string; tookMs: number };

export interface Entry extends Order {
  /** Goes with the job as metadata, so that a job whose answer was lost is recognised. */
  id: string;
  answers: Answer[];
}

/** The end of a job as one answer or one webhook told it. */
export interface Seen {
  job: string;
  where: 'answer' | 'webhook';
  status: JobView['status'];
  /** A digest of everything but the predictions. */
  end: string;
  /** Null where they were not told. */
  predictions: string | null;
}

/** One request to a receiver. */
export interface Arrival {
  /** The tenant whose receiver it came to. */
  tenant: string;
  /** `webhook-id`. */
  id: string;
  job: string;
  type: JobEndEvent;
  /** `webhook-timestamp`, seconds. */
  timestamp: number;
  atMs: number;
  body: string;
  /** By an independent library. */
  verified: boolean;
  answered: number;
}

export interface Delivery {
  id: string;
  job: string;
  /** "": the job's own webhook. */
  endpoint: string;
  type: string;
  state: string;
}

/** An endpoint that was there before the first job and after the last. */
export interface Subscriber {
  id: string;
  tenant: string;
  events: readonly string[];
}

export interface Evidence {
  endpoints: readonly Subscriber[];
  entries: readonly Entry[];
  /** The final state, by tenant. */
  stored: readonly { tenant: string; view: JobView }[];
  seen: readonly Seen[];
  arrivals: readonly Arrival[];
  deliveries: readonly Delivery[];
  /** Job -> how often it was started, by its record. */
  starts: ReadonlyMap<string, number>;
  /** Job -> how often a log says that its result was taken; empty where logs do not tell. */
  settles: ReadonlyMap<string, number>;
  /** Texts that held what belongs to another tenant. */
  leaks: readonly { where: string; found: string }[];
  /** Texts that were looked through. */
  scanned: number;
  /** Connections to addresses that may not be called. */
  trapped: number;
}

export const TERMINAL = ['succeeded', 'failed', 'canceled', 'expired'];

export function seenIn(view: JobView, where: Seen['where']): Seen {
  const { id, status, startedAt, finishedAt, error, usage, timings, attempts, predictions } = view;
  return {
    job: id,
    where,
    status,
    end: digest([status, startedAt, finishedAt, error, usage, timings, attempts]),
    predictions: predictions ? digest(predictions) : null,
  };
}

function digest(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex').slice(0, 16);
}
