/**
 * Full queues: the error of a submit that finds no room, which stands for the submits that follow for a moment.
 */
import { LRUCache } from 'lru-cache';
import { SluiceError } from '../../../contract/errors.js';
import { ratePerSecond } from '../../queues/queue-status.js';

export interface FullQueue {
  /**
   * Throws the error with which a submit for this queue was refused a moment ago. Under overload most submits are refused,
   * and one that cannot succeed should cost nothing more.
   */
  demandRoom(tenant: string, model: string): void;
  /** Returns the error of a submit that was refused just now, and remembers it for `REMEMBER_MS`. */
  refuse(refusal: QueueRefusal): SluiceError;
}

export interface QueueRefusal {
  code: 'queue_full_for_tenant' | 'queue_full';
  tenant: string;
  model: string;
  /** The queued jobs of the tenant, and of the model. */
  ofTenant: number;
  ofModel: number;
  /** The rate of starting, as `ratePerSecond` takes it. */
  startedJobs: string | undefined;
  busyMs: string | undefined;
}

/** The caller is asked to come back when this share of the queue has been worked off. */
const ROOM = 0.1;
const MAX_RETRY_SECONDS = 300;
/** The hint while no rate of starting is known. */
const UNKNOWN_RETRY_SECONDS = 5;
const REMEMBER_MS = 100;

/** Returns what one process remembers of full queues. */
export function createFullQueue(): FullQueue {
  const refusals = new LRUCache<string, SluiceError>({ max: 1000, ttl: REMEMBER_MS });
  const ofTenant = (model: string, tenant: string) => `${model} ${tenant}`;
  return {
    demandRoom(tenant, model) {
      const refusal = refusals.get(model) ?? refusals.get(ofTenant(model, tenant));
      if (refusal) throw refusal;
    },
    refuse(refusal) {
      const { code, tenant, model } = refusal;
      const error = new SluiceError(code, undefined, { retryAfterSeconds: retrySeconds(refusal) });
      refusals.set(code === 'queue_full' ? model : ofTenant(model, tenant), error);
      return error;
    },
  };
}

/** Estimated from the rate of starting; a tenant's share of that rate is its share of the queue. */
function retrySeconds({ code, ofTenant, ofModel, startedJobs, busyMs }: QueueRefusal): number {
  const rate = ratePerSecond([startedJobs, busyMs]);
  if (rate === null) return UNKNOWN_RETRY_SECONDS;
  const [queued, share] =
    code === 'queue_full' ? [ofModel, 1] : [ofTenant, Math.min(ofTenant / Math.max(ofModel, 1), 1)];
  const seconds = Math.ceil((ROOM * queued) / (rate * share));
  return Math.min(Math.max(seconds, 1), MAX_RETRY_SECONDS);
}
