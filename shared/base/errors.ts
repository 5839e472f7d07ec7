/**
 * Errors without a code of the contract: one that explains itself, and the text of anything thrown.
 */

/** An error whose message tells a person everything; the log leaves its stack out. */
export class Refusal extends Error {
  override readonly name: string = 'Refusal';
}

/** Returns the text of whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
