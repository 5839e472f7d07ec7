/**
 * Whom a delivery goes to: its endpoint as it is now, or the URL that came with its job.
 */
import type { Clock } from '../../shared/base/clock.js';
import type { Delivery } from '../../shared/contract/webhooks/delivery.js';
import { secretsAt } from '../../shared/contract/webhooks/signing.js';
import type { Endpoints } from '../../shared/core/webhooks/endpoints.js';

export interface Recipient {
  url: string;
  /** Those that sign now. */
  secrets: readonly string[];
  /** False holds what it is to be told. */
  enabled: boolean;
}

/** Who shares turns: an endpoint; of jobs' own webhooks, those of a tenant to one origin. */
export function receiverOf({ tenant, endpoint, url }: Delivery): string {
  return endpoint ?? `${tenant} ${url === null ? '' : new URL(url).origin}`;
}

/** Null when the endpoint is gone. */
export type FindRecipient = (delivery: Delivery) => Promise<Recipient | null>;

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
    // Who tries an endpoint out before enabling it again is not told to enable it first.
    return { url: endpoint.url, secrets, enabled: endpoint.enabled || type === 'endpoint.test' };
  };
}
