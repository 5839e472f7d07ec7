/**
 * The outbox: events, written by the script that makes what they tell happen, until their deliveries stand.
 */
import type { EventType } from '../../contract/webhooks/events.js';

/** An entry; what it is about is one of the last three. */
export interface OutboxEvent {
  /** Names it among all events; with it a repeated entry is known. */
  id: string;
  type: EventType;
  /** When it happened, milliseconds since the Unix epoch. */
  at: number;
  /** Id of a job. */
  job: string | null;
  /** "mnist@3" */
  version: string | null;
  /** Id of an endpoint. */
  endpoint: string | null;
}

export function decodeEvent(fields: readonly string[]): OutboxEvent {
  const named: Record<string, string> = {};
  for (let i = 0; i < fields.length; i += 2) named[fields[i] ?? ''] = fields[i + 1] ?? '';
  const { id, type, at, job = null, version = null, endpoint = null } = named;
  if (!id || !type || !at || !(job || version || endpoint))
    throw new Error(`The outbox holds an entry that is no event: ${fields.join(' ')}`);
  return { id, type: type as EventType, at: Number(at), job, version, endpoint };
}
