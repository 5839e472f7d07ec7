/**
 * Canaries: words that go into a tenant's metadata and may come out for that tenant alone.
 */
import { randomBytes } from 'node:crypto';

const CANARY = /canary-([a-z]+)-[0-9a-f]{16}/g;

export function newCanary(tenant: string): string {
  return `canary-${tenant}-${randomBytes(8).toString('hex')}`;
}

/** Canaries in `text` that are not `tenant`'s; all of them where the text is nobody's, such as a log. */
export function foreignCanaries(text: string, tenant: string | null): string[] {
  return [...text.matchAll(CANARY)].filter(([, owner]) => owner !== tenant).map(([found]) => found);
}
