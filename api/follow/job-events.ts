/**
 * The events of a job, computed from its record. All functions are pure.
 *
 *   status     queued (attempt 0), then for each attempt: running, and queued again if another was to follow; last the end
 *   progress   how far the newest execution is, between its `running` and the next status
 *   done       the job with its result, once
 *
 * The id of an event is its position in this order: attempts made, phase, start, instances done. The record says which
 * positions have been reached. So any process can tell at any time, from the last id that a caller saw, which events that
 * caller has missed. Every change of status is told, however late; only the newest progress is known.
 */
import { toTimestamp } from '../../shared/base/clock.js';
import { isTerminal, type JobRecord, type JobStatus } from '../../shared/contract/job.js';

export type Position = readonly [attempt: number, phase: number, start: number, done: number];

export interface JobEvent {
  name: 'status' | 'progress' | 'done';
  position: Position;
  /** Null for `done`, which carries the view of the job. */
  data: Record<string, unknown> | null;
}

/** The phases of an attempt, in their order. */
const PHASE = { running: 0, queued: 1, ended: 2, done: 3 } as const;
/** A number above every number of instances. */
const MOST = 999_999_999;
const ID = /^\d{1,9}(?:-\d{1,9}){3}$/;

/** Returns the events after position `after`; for null, the present status and the events that belong to it. */
export function eventsOf(record: JobRecord, after: Position | null): JobEvent[] {
  const statuses = statusesOf(record);
  const { attempts, starts, progress } = record;
  const rest: JobEvent[] = [];
  if (progress)
    rest.push({
      name: 'progress',
      position: [attempts, PHASE.running, starts, progress.done],
      data: { ...progress },
    });
  if (isTerminal(record.status)) rest.push({ name: 'done', position: headOf(record), data: null });
  if (after === null) return [...statuses.slice(-1), ...rest];
  return [...statuses, ...rest].filter(({ position }) => comparePositions(position, after) > 0);
}

/** Returns the last position that the job can have reached. */
export function headOf({ status, attempts, starts }: JobRecord): Position {
  if (isTerminal(status)) return [attempts, PHASE.done, 0, 0];
  return status === 'queued' ? [attempts, PHASE.queued, 0, 0] : [attempts, PHASE.running, starts, MOST];
}

/** Returns the position to resume after. Null stands for the present state, also for an id that the job has not reached. */
export function resumePosition(lastEventId: string, record: JobRecord): Position | null {
  if (!ID.test(lastEventId)) return null;
  const position = lastEventId.split('-').map(Number) as unknown as Position;
  return comparePositions(position, headOf(record)) > 0 ? null : position;
}

/** Tells whether nothing will ever follow `after`. */
export function isLast(after: Position | null, record: JobRecord): boolean {
  return after !== null && isTerminal(record.status) && comparePositions(after, headOf(record)) === 0;
}

/** Compares two positions as a sort does: negative when `a` comes first, 0 when they are equal. */
export function comparePositions(a: Position, b: Position): number {
  for (const [i, number] of a.entries()) {
    const difference = number - (b[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** Returns the text of an event (HTML Standard, 9.2 Server-sent events). JSON has no bare line ends, so `data` is one line. */
export function formatEvent({ name, position }: JobEvent, data: unknown): string {
  return `id: ${position.join('-')}\nevent: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
}

/** Returns every status that the job has had, the present one last. */
function statusesOf(record: JobRecord): JobEvent[] {
  const { status, attempts, startedAt, finishedAt, history, createdAt } = record;
  const events: JobEvent[] = [];
  const tell = (what: JobStatus, attempt: number, phase: number, at: number | null | undefined) =>
    events.push({
      name: 'status',
      position: [attempt, phase, 0, 0],
      data: {
        id: record.spec.id,
        status: what,
        attempts: attempt,
        at: at === null || at === undefined ? null : toTimestamp(at),
      },
    });

  tell('queued', 0, PHASE.queued, createdAt);
  for (let attempt = 1; attempt <= attempts; attempt++) {
    const past = history.find((each) => each.attempt === attempt);
    tell('running', attempt, PHASE.running, past?.startedAt ?? startedAt);
    // A job that waits for its next attempt has no `startedAt`, also when it ends while it waits.
    const queuedAgain = attempt < attempts || startedAt === null;
    if (queuedAgain) tell('queued', attempt, PHASE.queued, past?.finishedAt);
  }
  if (isTerminal(status)) tell(status, attempts, PHASE.ended, finishedAt);
  return events;
}
