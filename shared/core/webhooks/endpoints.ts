/**
 * Webhook endpoints of tenants, and the signing secrets for the own webhooks of jobs. contract/webhooks/endpoint.ts tells the
 * states of an endpoint.
 *
 * Promises: a tenant cannot see the endpoint of another. A secret is returned for signing, and to the caller that creates or rotates
 * it.
 */
import type { Clock } from '../../base/clock.js';
import { invalid, SluiceError } from '../../contract/errors.js';
import { isId, newId } from '../../contract/ids.js';
import { type AddressRules, urlFault } from '../../contract/webhooks/address.js';
import type {
  CreateEndpoint,
  DisabledReason,
  Endpoint,
  PatchEndpoint,
} from '../../contract/webhooks/endpoint.js';
import { DEFAULT_EVENTS, type SubscribedEvent } from '../../contract/webhooks/events.js';
import {
  newSigningSecrets,
  rotateSecrets,
  type SigningSecrets,
  secretsAt,
} from '../../contract/webhooks/signing.js';
import type { Redis } from '../../redis/connect.js';
import { hashFields } from '../../redis/hash-fields.js';
import type { Keys } from '../../redis/keys.js';
import { loadScript } from '../../redis/load-script.js';
import { type Idempotency, idempotencyValues } from '../idempotency.js';
import { numberOrNull } from '../jobs/job-record.js';

export interface EndpointsDeps {
  redis: Redis;
  keys: Keys;
  clock: Clock;
  rules: AddressRules;
  /** The number of endpoints that one tenant may have. */
  maxPerTenant: number;
}

export type Endpoints = ReturnType<typeof createEndpoints>;

/** Returns the endpoints of all tenants. Every function rejects when Redis fails. */
export function createEndpoints({ redis, keys, clock, rules, maxPerTenant }: EndpointsDeps) {
  const createEndpoint = loadScript(redis, 'create-endpoint');
  const changeEndpoint = loadScript(redis, 'change-endpoint');
  const removeEndpoint = loadScript(redis, 'remove-endpoint');
  const rotateEndpointSecrets = loadScript(redis, 'rotate-endpoint-secrets');
  const rotateTenantSecrets = loadScript(redis, 'rotate-tenant-secrets');

  const endpointOf = (tenant: string, id: string) => ({
    endpointKey: keys.endpoint(id),
    tenantEndpointsKey: keys.tenantEndpoints(tenant),
    subscribedKey: keys.subscribed,
    id,
    tenant,
    endpointPrefix: keys.endpoint(''),
  });

  /**
   * Checks that a webhook may be sent to `url`; `path` is the JSON pointer (RFC 6901) of the URL in the request body.
   *
   * @throws {SluiceError} `url_not_allowed` when the address rules forbid the URL
   */
  function checkUrl(url: string, path: string): void {
    const message = urlFault(url, rules);
    if (message) throw invalid([{ path, message }], 'url_not_allowed');
  }

  /**
   * Creates an endpoint, or returns the one that an earlier request with the same idempotency key has created (`replayed`).
   *
   * @throws {SluiceError} `url_not_allowed` when the address rules forbid the URL
   * @throws {SluiceError} `idempotency_key_reused` when the key came with another request before
   * @throws {SluiceError} `too_many_endpoints` when the tenant has `maxPerTenant`
   * @throws {SluiceError} `not_found` when the replayed endpoint was removed meanwhile
   */
  async function create(
    tenant: string,
    body: CreateEndpoint,
    idempotency?: Idempotency,
  ): Promise<{ replayed: boolean; endpoint: Endpoint }> {
    checkUrl(body.url, '/url');
    const id = newId('whe', clock.now());
    const [reply, known = id] = await createEndpoint(
      {
        ...endpointOf(tenant, id),
        ...idempotencyValues(keys, tenant, idempotency, keys.endpoint(id)),
        maxEndpoints: maxPerTenant,
      },
      hashFields({
        ...fieldsOf({ events: [...DEFAULT_EVENTS], description: '', includePredictions: false, ...body }),
        tenant,
        secrets: JSON.stringify(newSigningSecrets()),
        enabled: flag(body.enabled !== false),
        ...(body.enabled === false ? { disabledAt: clock.now(), disabledReason: 'paused' } : {}),
      }),
    );
    if (reply === 'mismatch') throw new SluiceError('idempotency_key_reused');
    if (reply === 'full') throw new SluiceError('too_many_endpoints');
    return { replayed: reply === 'replayed', endpoint: await demand(tenant, known) };
  }

  /** Returns the endpoint of any tenant, or null when it does not exist. */
  async function find(id: string): Promise<Endpoint | null> {
    return decode(id, await redis.hgetall(keys.endpoint(id)));
  }

  /**
   * Returns an endpoint of the tenant.
   *
   * @throws {SluiceError} `not_found` when the tenant has no such endpoint
   */
  async function demand(tenant: string, id: string): Promise<Endpoint> {
    const endpoint = isId('whe', id) ? await find(id) : null;
    if (endpoint?.tenant !== tenant) throw new SluiceError('not_found', 'There is no such webhook endpoint.');
    return endpoint;
  }

  /** Returns all endpoints of the tenant, newest first. `maxPerTenant` bounds them, so there are no pages. */
  async function list(tenant: string): Promise<Endpoint[]> {
    const ids = await redis.zrange(keys.tenantEndpoints(tenant), '+', '-', 'BYLEX', 'REV');
    const endpoints = await Promise.all(ids.map(find));
    return endpoints.filter((endpoint) => endpoint !== null);
  }

  /** Returns the endpoints of the tenant; null returns those of every tenant that has any. */
  async function subscribed(tenant: string | null): Promise<Endpoint[]> {
    if (tenant !== null) return list(tenant);
    const tenants = await redis.hkeys(keys.subscribed);
    return (await Promise.all(tenants.map(list))).flat();
  }

  /**
   * Changes the fields that `body` contains. To enable an endpoint releases the deliveries that were held for it.
   *
   * @throws {SluiceError} `not_found` when the tenant has no such endpoint
   * @throws {SluiceError} `url_not_allowed` when the address rules forbid the new URL
   */
  async function change(tenant: string, id: string, body: PatchEndpoint): Promise<Endpoint> {
    await demand(tenant, id);
    if (body.url !== undefined) checkUrl(body.url, '/url');
    await changeEndpoint(
      {
        ...endpointOf(tenant, id),
        heldKey: keys.held(id),
        releasingKey: keys.releasing,
        now: clock.now(),
        enabled: flag(body.enabled) ?? '',
      },
      hashFields(fieldsOf(body)),
    );
    return demand(tenant, id);
  }

  /**
   * Removes an endpoint; its deliveries are left to `DeliveryLog.forget`.
   *
   * @throws {SluiceError} `not_found` when the tenant has no such endpoint
   */
  async function remove(tenant: string, id: string): Promise<void> {
    await demand(tenant, id);
    await removeEndpoint({
      ...endpointOf(tenant, id),
      heldKey: keys.held(id),
      releasingKey: keys.releasing,
    });
  }

  /**
   * Gives the endpoint a new secret. The previous one signs beside it for a day.
   *
   * @throws {SluiceError} `not_found` when the tenant has no such endpoint
   */
  async function rotate(tenant: string, id: string): Promise<Endpoint> {
    await demand(tenant, id);
    const endpointKey = keys.endpoint(id);
    await swap(
      () => redis.hget(endpointKey, 'secrets'),
      (before, after) => rotateEndpointSecrets({ endpointKey, before, after }),
    );
    return demand(tenant, id);
  }

  /**
   * Returns the secrets that sign the own webhooks of the tenant's jobs, newest first. The first call makes a secret, and all
   * processes get the same.
   */
  async function tenantSecrets(tenant: string): Promise<string[]> {
    const key = keys.signingSecret(tenant);
    const known = await redis.get(key);
    if (known) return secretsAt(decodeSecrets(known), clock.now());
    const secrets = newSigningSecrets();
    const isOurs = await redis.set(key, JSON.stringify(secrets), 'NX');
    return isOurs ? secretsAt(secrets, clock.now()) : tenantSecrets(tenant);
  }

  /** Adds a new secret for the own webhooks of the tenant's jobs, and returns all that sign now, newest first. */
  async function rotateTenant(tenant: string): Promise<string[]> {
    await tenantSecrets(tenant);
    const secretsKey = keys.signingSecret(tenant);
    await swap(
      () => redis.get(secretsKey),
      (before, after) => rotateTenantSecrets({ secretsKey, before, after }),
    );
    return tenantSecrets(tenant);
  }

  /** Rotates the secrets that `read` returns, and begins again when another process has replaced them before `write`. */
  async function swap(
    read: () => Promise<string | null>,
    write: (before: string, after: string) => Promise<number>,
  ): Promise<void> {
    for (;;) {
      const before = await read();
      if (before === null) return;
      const after = rotateSecrets(decodeSecrets(before), clock.now());
      if ((await write(before, JSON.stringify(after))) === 1) return;
    }
  }

  return {
    checkUrl,
    create,
    find,
    demand,
    list,
    subscribed,
    change,
    remove,
    rotate,
    tenantSecrets,
    rotateTenant,
  };
}

/** Returns the fields of the record that `body` sets; the others are undefined. */
function fieldsOf({ url, events, description, includePredictions }: PatchEndpoint) {
  return { url, events: events?.join(','), description, includePredictions: flag(includePredictions) };
}

/** Returns a boolean as a record keeps it. */
function flag(value: boolean | undefined): string | undefined {
  return value === undefined ? undefined : value ? '1' : '0';
}

function decode(id: string, fields: Record<string, string>): Endpoint | null {
  const { tenant, url, secrets } = fields;
  if (!tenant || !url || !secrets) return null;
  return {
    id,
    tenant,
    url,
    events: (fields.events ?? '').split(',') as SubscribedEvent[],
    description: fields.description ?? '',
    enabled: fields.enabled === '1',
    includePredictions: fields.includePredictions === '1',
    secrets: decodeSecrets(secrets),
    createdAt: Number(fields.createdAt),
    disabledAt: numberOrNull(fields.disabledAt),
    disabledReason: (fields.disabledReason ?? null) as DisabledReason | null,
    failingSince: numberOrNull(fields.failingSince),
    lastSuccessAt: numberOrNull(fields.lastSuccessAt),
    dropped: Number(fields.dropped ?? 0),
  };
}

/** Records from before rotation existed hold the secret itself instead of JSON. */
function decodeSecrets(text: string): SigningSecrets {
  return text.startsWith('[') ? (JSON.parse(text) as SigningSecrets) : [{ secret: text, untilMs: null }];
}
