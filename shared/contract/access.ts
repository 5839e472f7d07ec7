/**
 * Access: the form of an API key, its scopes, and the principal of a request.
 *
 * A key holds at least 128 random bits, so nobody can find it from its SHA-256; only that hash is stored.
 */
import { sha256Of } from '../base/hash.js';

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

/** The caller of a request, as its key tells. */
export interface Principal {
  keyId: string;
  tenant: string;
  /** `*` stands for every scope. */
  scopes: readonly (Scope | '*')[];
}

/** Tells whether `text` has the form of an API key. */
export function isApiKey(text: string): boolean {
  return /^slk_[0-9A-Za-z]{22,128}$/.test(text);
}

/** Returns the SHA-256 of a key in hexadecimal, the only form in which it is stored. */
export function hashApiKey(key: string): string {
  return sha256Of(key);
}

/** Tells whether a principal holds a scope. */
export function mayUse(principal: Principal, scope: Scope): boolean {
  return principal.scopes.includes('*') || principal.scopes.includes(scope);
}
