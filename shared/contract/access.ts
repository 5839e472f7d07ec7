/**
 * Access: the form of an API key, what it may do, who a request is.
 *
 * A key holds at least 128 bits of chance, so its SHA-256 is as good as the key is secret; only that is stored.
 */
import { createHash } from 'node:crypto';

export const SCOPES = [
  'jobs:read',
  'jobs:write',
  'files:read',
  'files:write',
  'models:read',
  'models:write',
  'webhooks:read',
  'webhooks:write',
  'admin',
] as const;
export type Scope = (typeof SCOPES)[number];

export interface Principal {
  keyId: string;
  tenant: string;
  /** `*` = every scope. */
  scopes: readonly (Scope | '*')[];
}

export function isApiKey(text: string): boolean {
  return /^slk_[0-9A-Za-z]{22,128}$/.test(text);
}

export function hashApiKey(key: string): string {
  return createHash('sha256').update(key).digest('hex');
}

export function mayUse(principal: Principal, scope: Scope): boolean {
  return principal.scopes.includes('*') || principal.scopes.includes(scope);
}
