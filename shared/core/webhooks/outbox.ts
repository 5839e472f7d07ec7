/**
 * The outbox: a Redis stream of events whose deliveries are not created yet.
 *
 * The script that changes a state writes the event in the same step, so no event is lost, and no event tells of a change that
 * did not happen.
 */
import type { EventType } from '../../contract/webhooks/events.js';

/** An event. Exactly one of `job`, `version` and `endpoint` is set and names the subject of the event. */
export interface OutboxEvent {
  /** Unique among all events. An entry that is read twice leads to the same deliveries, because their ids derive from it. */
  id: string;
  type: EventType;
  /** The time of the event, in milliseconds since the Unix epoch. */
  at: number;
  /** The id of a job. */
  job: string | null;
  /** A model and the number of a version: `mnist@3`. */
  version: string | null;
  /** The id of an endpoint. */
  endpoint: string | null;
}

/**
 * Decodes an entry of the stream; `fields` alternates names and values, as ioredis returns them.
 *
 * @throws {Error} when the entry is not an event, which is a bug
 */
export function decodeEvent(fields: readonly string[]): OutboxEvent {
  const named: Record<string, string> = {};
  for (let i = 0; i < fields.length; i += 2) named[fields[i] ?? ''] = fields[i + 1] ?? '';
  const { id, type, at, job = null, version = null, endpoint = null } = named;
  if (!id || !type || !at || !(job || version || endpoint))
    throw new Error(`The outbox holds an entry that is no event: ${fields.join(' ')}`);
  return { id, type: type as EventType, at: Number(at), job, version, endpoint };
}
