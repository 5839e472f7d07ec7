/**
 * Hashes of texts.
 */
import { createHash } from 'node:crypto';

/** Returns the SHA-256 of the text's UTF-8 bytes, in hex. */
export function sha256Of(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
