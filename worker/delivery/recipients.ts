/**
 * Finds the recipient of a delivery: the endpoint as it is now, or the URL that came with the job.
 */
import type { Clock } from '../../shared/base/clock.js';
import type { Delivery } from '../../shared/contract/webhooks/delivery.js';
import { secretsAt } from '../../shared/contract/webhooks/signing.js';
import type { Endpoints } from '../../shared/core/webhooks/endpoints.js';

export interface Recipient {
  url: string;
  /** The secrets that sign now, newest first. */
  secrets: readonly string[];
  /** False means that the delivery is held until the endpoint is enabled. */
  enabled: boolean;
}

/** Returns the name under which the circuit breaker counts: the endpoint, or the tenant and origin of a job's own webhook. */
export function receiverOf({ tenant, endpoint, url }: Delivery): string {
  return endpoint ?? `${tenant} ${url === null ? '' : new URL(url).origin}`;
}

/** Resolves with null when the endpoint no longer exists. */
export type FindRecipient = (delivery: Delivery) => Promise<Recipient | null>;

/** Returns the function that finds recipients; it rejects when Redis fails. */
export function createRecipients(endpoints: Endpoints, clock: Clock): FindRecipient {
  return async ({ tenant, endpoint: id, url, type }) => {
    if (id === null) {
      if (url === null) return null;
      const secrets = await endpoints.tenantSecrets(tenant);
      return { url, secrets, enabled: true };
    }
    const endpoint = await endpoints.find(id);
    if (!endpoint) return null;
    const secrets = secretsAt(endpoint.secrets, clock.now());
    // A test event reaches a disabled endpoint too, so that a tenant can try it before enabling it.
    return { url: endpoint.url, secrets, enabled: endpoint.enabled || type === 'endpoint.test' };
  };
}
