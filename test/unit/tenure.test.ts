/** A tenure: when a worker that holds a ticket takes a turn, with what, and when it is over. */
import { describe, expect, it } from 'vitest';
import type { JobSpec } from '../../shared/contract/job.js';
import type { Exchanged, Finished, Started, Turn } from '../../shared/core/jobs/executions.js';
import { NONE_SENT } from '../../shared/core/jobs/sent-jobs.js';
import { LeftBehind, startTenure } from '../../worker/inference/consumer/tenure.js';
import { createManualClock } from '../support/manual-clock.js';

const SHARE = { maxInstances: 4, maxBytes: 100 };
const NOTHING = { expired: 0, lost: 0 };
const STAND_BY_MS = 1000;
const jobs = (...ids: string[]): Started[] =>
  ids.map((id) => ({
    spec: { id } as JobSpec,
    input: { inline: Buffer.alloc(0), blob: null },
    token: '1',
    attempt: 1,
  }));

function open(maxShares = () => 2) {
  const clock = createManualClock();
  const turns: Turn[] = [];
  const computing = new Map<string, { finish: () => void; leave: (reason: Error) => void }>();
  const reported: string[] = [];
  let answer: ((exchanged: Exchanged | Error) => void) | undefined;
  const tenure = startTenure({
    exchange: (turn) =>
      new Promise((resolve, reject) => {
        turns.push(turn);
        answer = (exchanged) => (exchanged instanceof Error ? reject(exchanged) : resolve(exchanged));
      }),
    compute: (job) =>
      new Promise((resolve, reject) => {
        const end = { error: null, usageMs: 0, timings: null };
        computing.set(job.spec.id, {
          finish: () => resolve({ job, end, output: null }),
          leave: reject,
        });
      }),
    settled: async ({ job }: Finished, status) => void reported.push(`${job.spec.id} ${status}`),
    maxShares,
    share: () => SHARE,
    clock,
  });
  let leftOver: unknown[] | undefined;
  void tenure.ended.then((reasons) => {
    leftOver = reasons;
  });
  return {
    tenure,
    turns,
    reported,
    leftOver: () => leftOver,
    pass: (ms = 0) => clock.advance(ms),
    /** Answers the turn that is under way. */
    async give(started: Started[], more: Partial<Exchanged> = {}) {
      const settled = turns.at(-1)?.finished.map(() => 'succeeded' as const) ?? [];
      answer?.({
        standing: 'held',
        isMore: false,
        sent: NONE_SENT,
        settled,
        started,
        unstarted: NOTHING,
        ...more,
      });
      await clock.advance(0);
    },
    async fail(error: Error) {
      answer?.(error);
      await clock.advance(0);
    },
    async finish(...ids: string[]) {
      for (const id of ids) computing.get(id)?.finish();
      await clock.advance(0);
    },
    async leave(id: string, reason: Error) {
      computing.get(id)?.leave(reason);
      await clock.advance(0);
    },
  };
}

const finishedIn = (turn: Turn | undefined) => turn?.finished.map(({ job }) => job.spec.id);

it('begins by taking over, and settles together what ends together', async () => {
  const { turns, give, finish, reported } = open();
  expect(turns).toMatchObject([{ number: 1, takesOver: [], room: 2, finished: [], leaves: false }]);
  await give(jobs('a', 'b', 'c'));
  expect(turns).toHaveLength(1);
  await finish('a', 'b');
  expect(turns).toHaveLength(2);
  expect(turns[1]).toMatchObject({ number: 2, room: 1 });
  expect(turns[1]).not.toHaveProperty('takesOver');
  expect(finishedIn(turns[1])).toEqual(['a', 'b']);
  // A job that ends while a turn is under way waits for the next.
  await finish('c');
  expect(turns).toHaveLength(2);
  await give([]);
  expect(finishedIn(turns[2])).toEqual(['c']);
  expect(turns[2]?.room).toBe(2);
  expect(reported).toEqual(['a succeeded', 'b succeeded']);
});

it('takes a turn when it is rung and has room, and again at once while more waits', async () => {
  const { tenure, turns, give, finish, pass } = open();
  await give([]);
  tenure.ring();
  await pass();
  expect(turns).toHaveLength(2);
  await give(jobs('a'), { isMore: true });
  expect(turns).toHaveLength(3);
  await give(jobs('b'), { isMore: true });
  expect(turns).toHaveLength(3);
  await finish('a');
  expect(turns[3]).toMatchObject({ room: 1 });
});

it('leaves after a second without a job, unless the turn brings one', async () => {
  const { turns, give, finish, pass, leftOver } = open();
  await give([]);
  await pass(STAND_BY_MS - 1);
  expect(turns).toHaveLength(1);
  await pass(1);
  expect(turns[1]).toMatchObject({ leaves: true, room: 2 });
  await give(jobs('a'));
  await finish('a');
  expect(turns[2]).toMatchObject({ leaves: false });
  await give([]);
  await pass(STAND_BY_MS);
  await give([], { standing: 'left' });
  expect(leftOver()).toEqual([]);
});

it('that is closed starts nothing more, settles what it has, and leaves', async () => {
  const { tenure, turns, give, finish, leftOver, pass } = open(() => 1);
  await give(jobs('a'));
  tenure.close();
  tenure.ring();
  await pass();
  expect(turns).toHaveLength(1);
  await finish('a');
  expect(turns[1]).toMatchObject({ leaves: true, room: 0 });
  await give([], { standing: 'left' });
  expect(leftOver()).toEqual([]);
});

it('tells why a job is left under the ticket, when the others have ended', async () => {
  const { turns, give, finish, leave, leftOver } = open(() => 1);
  const reason = new Error('the worker ends');
  await give(jobs('a', 'b'));
  await leave('a', reason);
  expect(turns).toHaveLength(1);
  await finish('b');
  expect(turns[1]).toMatchObject({ leaves: true, room: 0 });
  await give([], { standing: 'left' });
  expect(leftOver()).toEqual([reason]);
});

it('takes over what it does not know after an answer that was lost', async () => {
  const { turns, give, finish } = open(() => 3);
  await give(jobs('a', 'b'), { isMore: true });
  await give([], { standing: 'behind' });
  expect(turns[2]).toMatchObject({ takesOver: ['a', 'b'] });
  await give(jobs('c'));
  await finish('c');
  expect(turns[3]).not.toHaveProperty('takesOver');
});

it('takes over share by share, while it has room', async () => {
  const { turns, give, finish } = open();
  await give(jobs('a'), { standing: 'behind' });
  expect(turns[1]).toMatchObject({ takesOver: ['a'], room: 1 });
  await give(jobs('b'), { standing: 'behind' });
  expect(turns).toHaveLength(2);
  await finish('a');
  expect(turns[2]).toMatchObject({ takesOver: ['b'], room: 1 });
  await give(jobs('c'));
  await finish('b');
  expect(turns[3]).not.toHaveProperty('takesOver');
});

it('takes over what must be alone after what it has in hand, without asking meanwhile', async () => {
  const { turns, give, finish } = open(() => 3);
  await give(jobs('a', 'b'), { standing: 'behind' });
  await give([], { standing: 'behind' });
  expect(turns).toHaveLength(2);
  await finish('a');
  expect(turns[2]).toMatchObject({ takesOver: ['b'] });
  await give([], { standing: 'behind' });
  expect(turns).toHaveLength(3);
  await finish('b');
  expect(turns[3]).toMatchObject({ takesOver: [] });
  await give(jobs('c'), { standing: 'behind' });
  await give([], { standing: 'behind' });
  await finish('c');
  expect(turns[5]).toMatchObject({ takesOver: [] });
  await give([]);
  expect(turns).toHaveLength(6);
});

it('that is closed before it has taken over hands the ticket back', async () => {
  const { tenure, turns, give, leftOver, pass } = open();
  await give([]);
  tenure.ring();
  await pass();
  tenure.close();
  await give([], { standing: 'behind' });
  expect(turns[2]).toMatchObject({ leaves: true, room: 0 });
  expect(turns[2]).not.toHaveProperty('takesOver');
  await give([], { standing: 'left' });
  expect(leftOver()).toEqual([expect.any(LeftBehind)]);
});

it('makes way when it is closed, or rung without room', async () => {
  let maxShares = 2;
  const { tenure, turns, give, finish, pass, leftOver } = open(() => maxShares);
  await give(jobs('a'));
  maxShares = 1;
  tenure.ring();
  await pass();
  expect(turns[1]).toMatchObject({ room: 0, leaves: false });
  await give([]);
  tenure.ring();
  await pass();
  expect(turns).toHaveLength(2);
  maxShares = 2;
  tenure.ring();
  await pass();
  await give([]);
  tenure.close();
  await pass();
  expect(turns[3]).toMatchObject({ room: 0, leaves: false });
  await give([]);
  expect(turns).toHaveLength(4);
  await finish('a');
  await give([], { standing: 'left' });
  expect(leftOver()).toEqual([]);
});

it('that is lost settles what it has and hands the ticket back', async () => {
  const { tenure, turns, give, finish, leftOver, pass } = open();
  await give(jobs('a'));
  tenure.ring();
  await pass();
  await give([], { standing: 'lost' });
  expect(leftOver()).toBeUndefined();
  await finish('a');
  expect(turns[2]).toMatchObject({ room: 0 });
  await give([], { standing: 'lost', settled: ['void'] });
  expect(leftOver()).toEqual([expect.any(LeftBehind)]);
});

it('whose turn fails starts nothing more, and tells it', async () => {
  const { turns, give, fail, finish, leftOver } = open();
  const fault = new Error('Redis is away');
  await give(jobs('a', 'b'));
  await finish('a');
  await fail(fault);
  await finish('b');
  expect(finishedIn(turns[2])).toEqual(['b']);
  await give([], { standing: 'left' });
  // Once for the turn, once for the job that it did not settle.
  expect(leftOver()).toEqual([fault, fault]);
});

describe('a job that is sent', () => {
  const send = (id: string, before = NONE_SENT) => ({ job: jobs(id)[0] as Started, before });

  it('is computed without a turn, and the turn that settles it tells that it was heard', async () => {
    const { tenure, turns, give, finish, pass } = open();
    await give([]);
    tenure.ring(send('a'));
    tenure.ring(send('b', 'a'));
    await pass();
    expect(turns).toHaveLength(1);
    await finish('a');
    expect(turns[1]).toMatchObject({ room: 1, heard: 'b', leaves: false });
    expect(turns[1]).not.toHaveProperty('takesOver');
    expect(finishedIn(turns[1])).toEqual(['a']);
  });

  it('keeps a tenure that was about to leave', async () => {
    const { tenure, turns, give, finish, pass } = open();
    await give([]);
    await pass(STAND_BY_MS - 1);
    tenure.ring(send('a'));
    await pass(STAND_BY_MS);
    expect(turns).toHaveLength(1);
    await finish('a');
    expect(turns[1]).toMatchObject({ leaves: false, room: 2 });
  });

  it('before one that came was not heard, and is taken over', async () => {
    const { tenure, turns, give, pass } = open();
    await give([]);
    tenure.ring(send('b', 'a'));
    await pass();
    expect(turns[1]).toMatchObject({ takesOver: ['b'], heard: 'b' });
    await give(jobs('a'), { sent: 'b' });
    expect(turns).toHaveLength(2);
  });

  it('and comes after the turn that tells of it is computed once', async () => {
    const { tenure, turns, give, finish, pass } = open();
    await give([]);
    tenure.ring();
    await pass();
    await give([], { sent: 'a' });
    tenure.ring(send('a'));
    await pass();
    await finish('a');
    expect(turns[2]).toMatchObject({ heard: 'a' });
    expect(turns[2]).not.toHaveProperty('takesOver');
    expect(finishedIn(turns[2])).toEqual(['a']);
  });

  it('and comes before a turn that did not know of it is computed once', async () => {
    const { tenure, turns, give, finish, pass } = open();
    await give([]);
    tenure.ring();
    await pass();
    tenure.ring(send('a'));
    await give([], { sent: NONE_SENT });
    await finish('a');
    expect(turns[2]).not.toHaveProperty('takesOver');
    expect(finishedIn(turns[2])).toEqual(['a']);
  });

  it('and does not come for a second is taken over, once', async () => {
    const { tenure, turns, give, finish, pass, reported } = open();
    await give(jobs('other'));
    tenure.ring();
    await pass();
    await give([], { sent: 'a' });
    await pass(STAND_BY_MS);
    tenure.ring();
    await pass();
    await give([], { sent: 'a' });
    expect(turns[3]).toMatchObject({ takesOver: ['other'], heard: NONE_SENT });
    await give(jobs('a'), { sent: 'a' });
    // The message comes late.
    tenure.ring(send('a'));
    await finish('a');
    expect(finishedIn(turns[4])).toEqual(['a']);
    expect(turns[4]).not.toHaveProperty('takesOver');
    await give([], { sent: 'a' });
    expect(reported).toEqual(['a succeeded']);
  });

  it('and is not here when the tenure would leave keeps it', async () => {
    const { turns, give, pass } = open();
    await give([]);
    await pass(STAND_BY_MS);
    expect(turns[1]).toMatchObject({ leaves: true, heard: NONE_SENT });
    await give([], { standing: 'behind', sent: 'a' });
    expect(turns[2]).toMatchObject({ takesOver: [], heard: 'a' });
  });

  it('to a closed tenure is not begun, and stays under its ticket', async () => {
    const { tenure, turns, give, pass, leftOver } = open();
    await give([]);
    tenure.close();
    tenure.ring(send('a'));
    await pass();
    await give([], { sent: 'a' });
    await give([], { standing: 'left' });
    expect(turns.at(-1)).toMatchObject({ leaves: true, room: 0, heard: 'a' });
    expect(leftOver()).toEqual([expect.any(LeftBehind)]);
  });
});
