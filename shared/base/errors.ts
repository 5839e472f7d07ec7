/**
 * Errors as such: one that explains itself, and the text of whatever was thrown.
 */

/** An error whose message tells a person everything; the log leaves its stack out. */
export class Refusal extends Error {
  override readonly name: string = 'Refusal';
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
