/**
 * Hashes.
 */
import { hash } from 'node:crypto';

/** Returns the SHA-256 of bytes, or of the UTF-8 bytes of a text, in hexadecimal. */
export function sha256Of(content: string | Uint8Array): string {
  return hash('sha256', content, 'hex');
}
