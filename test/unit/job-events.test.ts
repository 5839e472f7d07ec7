/**
 * A job's record tells its life, and which part of it a caller has missed.
 */
import { describe, expect, it } from 'vitest';
import { eventsOf, formatEvent, isLast, type Position, resumePosition } from '../../api/follow/job-events.js';
import { type JobRecord, jobError } from '../../shared/contract/job.js';
import { decodeRecord, RECORD_FIELDS } from '../../shared/core/jobs/job-record.js';

const past = (attempt: number) => ({
  attempt,
  startedAt: attempt * 10,
  finishedAt: attempt * 10 + 5,
  error: jobError('timeout'),
});
const record = (traits: Partial<JobRecord>): JobRecord => ({
  spec: { id: 'job_1' } as JobRecord['spec'],
  status: 'queued',
  createdAt: 0,
  expiresAt: 100_000,
  startedAt: null,
  finishedAt: null,
  deletedAfter: null,
  attempts: 0,
  starts: 0,
  progress: null,
  ticket: null,
  history: [],
  end: null,
  ...traits,
});

/** The stages of a job that fails, is retried, loses a worker, and succeeds. */
const LIFE: JobRecord[] = [
  record({}),
  record({ status: 'running', attempts: 1, starts: 1, startedAt: 10 }),
  record({ status: 'running', attempts: 1, starts: 1, startedAt: 10, progress: { done: 4, total: 8 } }),
  record({ attempts: 1, starts: 1, history: [past(1)] }),
  record({ status: 'running', attempts: 2, starts: 2, startedAt: 20, history: [past(1)] }),
  record({
    status: 'running',
    attempts: 2,
    starts: 2,
    startedAt: 20,
    history: [past(1)],
    progress: { done: 4, total: 8 },
  }),
  record({ status: 'running', attempts: 2, starts: 3, startedAt: 20, history: [past(1)] }),
  record({
    status: 'running',
    attempts: 2,
    starts: 3,
    startedAt: 20,
    history: [past(1)],
    progress: { done: 0, total: 8 },
  }),
  record({ status: 'succeeded', attempts: 2, starts: 3, startedAt: 20, finishedAt: 30, history: [past(1)] }),
];
const STAGES = ['status queued', 'status running', 'progress', 'status queued', 'status running', 'progress'];
const WHOLE = [...STAGES, 'progress', 'status succeeded', 'done'];

const names = (events: ReturnType<typeof eventsOf>) =>
  events.map(({ name, data }) => (name === 'status' ? `status ${data?.status}` : name));
const idOf = (position: Position) =>
  /^id: (.*)$/m.exec(formatEvent({ name: 'status', position, data: {} }, {}))?.[1] ?? '';

/** Returns what a caller sees who is told of the stages `seen` of a life, and who reconnects before each or never. */
function follow(seen: readonly JobRecord[], reconnects: boolean): string[] {
  const told: string[] = [];
  let last: Position | null = null;
  for (const stage of seen) {
    if (reconnects && last) last = resumePosition(idOf(last), stage);
    const events = eventsOf(stage, last);
    told.push(...names(events));
    last = events.at(-1)?.position ?? last;
  }
  return told;
}

describe('the events of a record', () => {
  it.each([false, true])('tell a whole life, each event once (reconnecting: %s)', (reconnects) => {
    expect(follow(LIFE, reconnects)).toEqual(WHOLE);
    expect(
      follow(
        LIFE.flatMap((stage) => [stage, stage]),
        reconnects,
      ),
    ).toEqual(WHOLE);
  });

  it('tell every change of status to whoever missed the stages in between', () => {
    const statuses = WHOLE.filter((name) => name !== 'progress');
    for (let stage = 0; stage < LIFE.length - 1; stage++) {
      const seen = [...LIFE.slice(0, stage + 1), ...LIFE.slice(-1)];
      expect(follow(seen, true).filter((name) => name !== 'progress')).toEqual(statuses);
    }
  });

  it('begin with the present state only', () => {
    expect(LIFE.map((stage) => names(eventsOf(stage, null)))).toEqual([
      ['status queued'],
      ['status running'],
      ['status running', 'progress'],
      ['status queued'],
      ['status running'],
      ['status running', 'progress'],
      ['status running'],
      ['status running', 'progress'],
      ['status succeeded', 'done'],
    ]);
  });

  it('say when', () => {
    const [first] = LIFE as [JobRecord];
    const after = eventsOf(first, null)[0]?.position ?? null;
    const at = eventsOf(LIFE.at(-1) as JobRecord, after).map(({ data }) =>
      data ? [data.attempts, Date.parse(String(data.at))] : 'the job',
    );
    expect(at).toEqual([[1, 10], [1, 15], [2, 20], [2, 30], 'the job']);
  });

  it('know an end while queued from one while running', () => {
    const queued = record({ attempts: 1, starts: 1, history: [past(1)] });
    const after = eventsOf(queued, null)[0]?.position ?? null;
    const ended = { status: 'canceled', finishedAt: 30 } as const;
    expect(names(eventsOf({ ...queued, ...ended }, after))).toEqual(['status canceled', 'done']);
    const fromStart = eventsOf(record({}), null)[0]?.position ?? null;
    expect(names(eventsOf({ ...queued, ...ended }, fromStart))).toEqual([
      'status running',
      'status queued',
      'status canceled',
      'done',
    ]);
    // The last failure of a job whose deadline leaves no room for another attempt.
    const late = record({ status: 'failed', attempts: 1, starts: 1, startedAt: 10, history: [past(1)] });
    expect(names(eventsOf(late, fromStart))).toEqual(['status running', 'status failed', 'done']);
    expect(names(eventsOf(record({ status: 'expired' }), fromStart))).toEqual(['status expired', 'done']);
  });

  it('are over after `done` only', () => {
    const end = LIFE.at(-1) as JobRecord;
    const [status, done] = eventsOf(end, null);
    expect(isLast(null, end)).toBe(false);
    expect(isLast(resumePosition(idOf(status?.position as Position), end), end)).toBe(false);
    expect(isLast(resumePosition(idOf(done?.position as Position), end), end)).toBe(true);
  });

  it.each(['', 'x', '1-0-0', '-1-0-0-0', '1-0-0-0-0', '9-0-0-0', '1e3-0-0-0', '9999999999-0-0-0'])(
    'begin anew after %j, which no event of this job had',
    (id) => {
      expect(resumePosition(id, LIFE[1] as JobRecord)).toBeNull();
    },
  );
});

it('an event is three fields and an empty line, its data on one', () => {
  const event = { name: 'status', position: [1, 0, 0, 0], data: null } as const;
  expect(formatEvent(event, { text: 'two\nlines' })).toBe(
    'id: 1-0-0-0\nevent: status\ndata: {"text":"two\\nlines"}\n\n',
  );
});

it.each([
  ['running', '3 4 8', { done: 4, total: 8 }],
  ['running', '2 4 8', null],
  ['queued', '3 4 8', null],
  ['running', null, null],
])('progress of a %s job from %j is %j: that of the newest start', (status, progress, expected) => {
  const values: Record<string, string | null> = { status, progress, spec: '{}', starts: '3' };
  expect(decodeRecord(RECORD_FIELDS.map((name) => values[name] ?? null))?.progress).toEqual(expected);
});
