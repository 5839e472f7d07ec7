/**
 * The events of a job, as its record tells them. Pure.
 *
 *   status     queued (attempt 0), then for each attempt: running, and queued again if another was to follow; last the end
 *   progress   how far the newest execution is, between its `running` and what comes after
 *   done       the job with its result, once
 *
 * An event's id is its position in this order: attempts made, phase, start, instances done. The record says which
 * positions have been reached, so whoever knows the last id that a caller saw knows what that caller has missed, in any
 * process and at any time. Changes of status are all told, however late; of progress only the newest is known.
 */
import { toTimestamp } from '../../shared/base/clock.js';
import { isTerminal, type JobRecord, type JobStatus } from '../../shared/contract/job.js';

export type Position = readonly [attempt: number, phase: number, start: number, done: number];

export interface JobEvent {
  name: 'status' | 'progress' | 'done';
  position: Position;
  /** Null for `done`, which carries the job as it is shown. */
  data: Record<string, unknown> | null;
}

/** Of an attempt, in their order. */
const PHASE = { running: 0, queued: 1, ended: 2, done: 3 } as const;
/** Of instances: above every number of them. */
const MOST = 999_999_999;
const ID = /^\d{1,9}(?:-\d{1,9}){3}$/;

/** What there is to tell after position `after`; null: the present state and what belongs to it. */
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

/** The last position that can have been reached. */
export function headOf({ status, attempts, starts }: JobRecord): Position {
  if (isTerminal(status)) return [attempts, PHASE.done, 0, 0];
  return status === 'queued' ? [attempts, PHASE.queued, 0, 0] : [attempts, PHASE.running, starts, MOST];
}

/** Where to go on; null: at the present state, also after an id that this job has not reached. */
export function resumePosition(lastEventId: string, record: JobRecord): Position | null {
  if (!ID.test(lastEventId)) return null;
  const position = lastEventId.split('-').map(Number) as unknown as Position;
  return comparePositions(position, headOf(record)) > 0 ? null : position;
}

/** Whether nothing will ever follow `after`. */
export function isLast(after: Position | null, record: JobRecord): boolean {
  return after !== null && isTerminal(record.status) && comparePositions(after, headOf(record)) === 0;
}

export function comparePositions(a: Position, b: Position): number {
  for (const [i, number] of a.entries()) {
    const difference = number - (b[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** As it travels (HTML Standard, 9.2: Server-sent events). `data` is one line: JSON has no bare line ends. */
export function formatEvent({ name, position }: JobEvent, data: unknown): string {
  return `id: ${position.join('-')}\nevent: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
}

/** Every status that the job has had, the present one last. */
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
