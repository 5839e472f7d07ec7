/**
 * Decodes the record of a delivery: a Redis hash becomes a `Delivery`.
 */
import type { Delivery, DeliveryHead, DeliveryStatus } from '../../contract/webhooks/delivery.js';
import type { EventType } from '../../contract/webhooks/events.js';

/** The fields of a `DeliveryHead`: all except the body and the last attempt. */
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

/** Decodes `values`, which stand in the order of `HEAD_FIELDS`. Returns null when there is no such record. */
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

/** Decodes the body, followed by values in the order of `HEAD_FIELDS`. Returns null when there is no such record. */
export function decodeDelivery(id: string, [body, ...head]: readonly (string | null)[]): Delivery | null {
  const decoded = decodeHead(id, head);
  return decoded && body ? { ...decoded, body } : null;
}
