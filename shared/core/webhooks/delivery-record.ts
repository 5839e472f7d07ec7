/**
 * A delivery's record as Redis holds it -> as the code reads it.
 */
import type { Delivery, DeliveryHead, DeliveryStatus } from '../../contract/webhooks/delivery.js';
import type { EventType } from '../../contract/webhooks/events.js';

/** Of all but what is sent and what was answered. */
export const HEAD_FIELDS = [
  'tenant',
  'type',
  'status',
  'endpoint',
  'url',
  'job',
  'at',
  'attempts',
  'nextAt',
  'once',
] as const;

/** `values` in the order of `HEAD_FIELDS`; null when there is no such record. */
export function decodeHead(id: string, values: readonly (string | null)[]): DeliveryHead | null {
  const [tenant, type, status, endpoint = null, url = null, job = null, at, attempts, nextAt, once] = values;
  if (!tenant || !type || !status) return null;
  return {
    id,
    tenant,
    endpoint,
    url,
    type: type as EventType,
    job,
    at: Number(at),
    status: status as DeliveryStatus,
    attempts: Number(attempts),
    nextAt: Number(nextAt),
    once: (once ?? null) as DeliveryStatus | null,
  };
}

export function decodeDelivery(id: string, [body, ...head]: readonly (string | null)[]): Delivery | null {
  const decoded = decodeHead(id, head);
  return decoded && body ? { ...decoded, body } : null;
}
