/**
 * The checker must be able to find fault: a sound run passes, and every kind of violation is named, alone, by its id.
 */
import { expect, it } from 'vitest';
import type { JobView } from '../../shared/contract/job-view.js';
import { check } from './checker.js';
import {
  type Arrival,
  type Delivery,
  type Entry,
  type Evidence,
  type Subscriber,
  seenIn,
} from './evidence.js';
import { predictionOf } from './golden-digits.js';
import { foreignCanaries, newCanary } from './tenant-canary.js';
import { tableOf, violationsIn } from './verdict-table.js';

const AT = '2026-01-02T03:04:05.000Z';
const HOOK = { url: 'http://127.0.0.1:9/' };

function jobOf(nth: number, changes: Partial<JobView> = {}): JobView {
  return {
    id: `job_${nth}`,
    object: 'job',
    status: 'succeeded',
    model: { name: 'mnist', version: 1, alias: 'latest' },
    createdAt: AT,
    startedAt: AT,
    finishedAt: AT,
    retryOf: null,
    expiresAt: AT,
    deletedAfter: AT,
    priority: 'standard',
    attempts: 1,
    history: [],
    progress: null,
    queuePosition: null,
    estimatedStartAt: null,
    cached: false,
    predictions: [predictionOf(7)],
    error: null,
    metadata: { entry: `entry-${nth}` },
    webhook: HOOK,
    usage: { instances: 1, computeMs: 1 },
    timings: null,
    links: { self: '', cancel: '', events: '' },
    ...changes,
  };
}

const entryOf = (nth: number, changes: Partial<Entry> = {}): Entry => ({
  id: `entry-${nth}`,
  tenant: 'ann',
  digits: [7],
  key: `key-${nth}`,
  answers: [{ is: 'accepted', job: `job_${nth}`, tookMs: 1 }],
  ...changes,
});

const arrivalOf = (nth: number, changes: Partial<Arrival> = {}): Arrival => ({
  tenant: 'ann',
  id: `dlv_${nth}`,
  job: `job_${nth}`,
  type: 'job.succeeded',
  timestamp: 1000,
  atMs: 1_000_000,
  body: '{}',
  verified: true,
  answered: 204,
  ...changes,
});

const deliveryOf = (nth: number, changes: Partial<Delivery> = {}): Delivery => ({
  id: `dlv_${nth}`,
  job: `job_${nth}`,
  endpoint: '',
  type: 'job.succeeded',
  state: 'delivered',
  ...changes,
});

const failure = { code: 'input_crashed_backend', message: '', retryable: false } as const;
const failed = { status: 'failed', error: failure, predictions: null } as const;

/** Four jobs: one plain, one whose first answer was lost, one poisoned, one that its client canceled. */
function sound() {
  const poisoned = jobOf(3, failed);
  const canceled = jobOf(4, { status: 'canceled', attempts: 0, startedAt: null, predictions: null });
  const views = [jobOf(1), jobOf(2), poisoned, canceled];
  return {
    endpoints: [] as Subscriber[],
    entries: [
      entryOf(1),
      entryOf(2, {
        answers: [
          { is: 'unknown', why: '503', tookMs: 1 },
          { is: 'accepted', job: 'job_2', tookMs: 1 },
        ],
      }),
      entryOf(3, { poison: 'aborts' }),
      entryOf(4),
      entryOf(5, { answers: [{ is: 'refused', status: 429, code: 'queue_full_for_tenant', tookMs: 1 }] }),
    ],
    stored: views.map((view) => ({ tenant: 'ann', view })),
    seen: [seenIn(jobOf(1), 'answer'), seenIn(jobOf(2, { predictions: null }), 'webhook')],
    arrivals: [
      arrivalOf(1, { answered: 500 }),
      arrivalOf(1),
      arrivalOf(2),
      arrivalOf(3, { type: 'job.failed' }),
      arrivalOf(4, { type: 'job.canceled' }),
    ],
    deliveries: [
      deliveryOf(1),
      deliveryOf(2),
      deliveryOf(3, { type: 'job.failed' }),
      deliveryOf(4, { type: 'job.canceled' }),
    ],
    starts: new Map([
      ['job_1', 2],
      ['job_2', 1],
    ]),
    settles: new Map([['job_1', 1]]),
    leaks: [] as { where: string; found: string }[],
    scanned: 9,
    trapped: 0,
  };
}

type Run = ReturnType<typeof sound>;
const judge = (evidence: Evidence) => violationsIn(check(evidence));
const put = (run: Run, nth: number, view: JobView): void => {
  run.stored[nth - 1] = { tenant: 'ann', view };
};

it('finds nothing in a sound run, and counts it', () => {
  const verdicts = check(sound());
  expect(violationsIn(verdicts)).toEqual([]);
  expect(verdicts.map(({ counts }) => counts)).toEqual([
    { accepted: 4, succeeded: 2, failed: 1, canceled: 1, expired: 0 },
    { stored: 4, entries: 5, unknown: 0 },
    { answers: 1, webhooks: 1 },
    { results: 2, executions: 3, 'executed again': 1, 'results in logs': 1 },
    { deliveries: 4, attempts: 5, 'given up': 0 },
    { innocent: 2, poisoned: 1 },
    { texts: 9 },
  ]);
  expect(tableOf(verdicts)).toContain('I1  holds ');
});

const found: [what: string, spoil: (run: Run) => void, named: string[]][] = [
  [
    'a lost job',
    (run) => {
      run.stored.splice(0, 1);
      run.deliveries.splice(0, 1);
      run.arrivals.splice(0, 2);
    },
    ['I1 job_1: accepted and lost'],
  ],
  [
    'a job that never ends',
    (run) => {
      put(run, 1, jobOf(1, { status: 'running', predictions: null, webhook: null }));
      run.seen.splice(0, 1);
      run.deliveries.splice(0, 1);
      run.arrivals.splice(0, 2);
    },
    ['I1 job_1: still running'],
  ],
  [
    'a job nobody asked for',
    (run) => void run.stored.push({ tenant: 'ann', view: jobOf(9, { webhook: null }) }),
    ['I2 job_9: nobody asked for it'],
  ],
  [
    "a job in another tenant's list",
    (run) => {
      run.stored[0] = { tenant: 'bob', view: jobOf(1, { webhook: null }) };
      run.deliveries.splice(0, 1);
      run.arrivals.splice(0, 2);
    },
    ['I2 job_1: nobody asked for it'],
  ],
  [
    'a job of a refused submit',
    (run) => void run.stored.push({ tenant: 'ann', view: jobOf(5, { webhook: null }) }),
    ['I2 job_5: entry-5 was answered 429 queue_full_for_tenant'],
  ],
  [
    'two jobs under one key',
    (run) => {
      const twin = jobOf(6, { metadata: { entry: 'entry-2' }, webhook: null });
      run.stored.push({ tenant: 'ann', view: twin });
    },
    ['I2 entry-2: 2 jobs, at most 1 wanted: job_2, job_6; was answered 503, job_2'],
  ],
  [
    'two jobs of one submit without a key',
    (run) => {
      delete run.entries[1]?.key;
      run.entries[1]?.answers.shift();
      const twin = jobOf(6, { metadata: { entry: 'entry-2' }, webhook: null });
      run.stored.push({ tenant: 'ann', view: twin });
    },
    [
      'I2 job_6: entry-2 was answered job_2',
      'I2 entry-2: 2 jobs, at most 1 wanted: job_2, job_6; was answered job_2',
    ],
  ],
  [
    'a status that changed after the end',
    (run) => void run.seen.push(seenIn(jobOf(1, failed), 'answer')),
    ['I3 job_1: answer said failed, now succeeded or other numbers'],
  ],
  [
    'numbers that changed after the end',
    (run) => void run.seen.push(seenIn(jobOf(1, { predictions: [predictionOf(8)] }), 'answer')),
    ['I3 job_1: answer said succeeded, now succeeded or other numbers'],
  ],
  [
    'a webhook that tells another end',
    (run) => void run.seen.push(seenIn(jobOf(1, { finishedAt: '2026-01-02T03:04:06.000Z' }), 'webhook')),
    ['I3 job_1: webhook said succeeded, now succeeded or other numbers'],
  ],
  ['two results', (run) => void run.settles.set('job_1', 2), ['I4 job_1: 2 results were taken']],
  [
    'two ends told',
    (run) => {
      run.deliveries.push(deliveryOf(1, { id: 'dlv_9' }));
      run.arrivals.push(arrivalOf(1, { id: 'dlv_9' }));
    },
    ['I4 job_1: 2 ends were told', 'I5 job_1: 2 deliveries, 1 due'],
  ],
  [
    'a job billed twice',
    (run) => {
      put(run, 2, jobOf(2, { usage: { instances: 2, computeMs: 1 } }));
      run.seen.splice(1, 1);
    },
    ['I4 job_2: 2 instances billed for 1'],
  ],
  [
    'two attempts',
    (run) => {
      put(run, 2, jobOf(2, { attempts: 2 }));
      run.seen.splice(1, 1);
    },
    ['I4 job_2: 2 attempts were counted', 'I4 job_2: a result without an attempt'],
  ],
  [
    'an end that was not told',
    (run) => {
      run.deliveries.splice(1, 1);
      run.arrivals.splice(2, 1);
    },
    ['I5 job_2: 0 deliveries, 1 due'],
  ],
  [
    'an end that nobody subscribed to',
    (run) => put(run, 2, jobOf(2, { webhook: { ...HOOK, events: ['job.failed'] } })),
    ['I5 job_2: 1 deliveries, 0 due'],
  ],
  [
    'an endpoint that was not told',
    (run) => void run.endpoints.push({ id: 'whe_1', tenant: 'ann', events: ['job.failed'] }),
    ['I5 job_3: 1 deliveries, 2 due'],
  ],
  [
    'an endpoint that was told twice',
    (run) => {
      run.endpoints.push({ id: 'whe_1', tenant: 'ann', events: ['job.failed'] });
      for (const id of ['dlv_7', 'dlv_8'])
        run.deliveries.push(deliveryOf(3, { id, type: 'job.failed', endpoint: 'whe_1' }));
      for (const id of ['dlv_7', 'dlv_8']) run.arrivals.push(arrivalOf(3, { id, type: 'job.failed' }));
    },
    ['I4 job_3: 2 ends were told', 'I5 job_3: 3 deliveries, 2 due'],
  ],
  [
    'a delivery that hangs',
    (run) => {
      run.deliveries[1] = deliveryOf(2, { state: 'pending' });
      run.arrivals.splice(2, 1);
    },
    ['I5 job_2: dlv_2 is neither delivered nor given up'],
  ],
  [
    'a delivery that its receiver never had',
    (run) => void run.arrivals.splice(2, 1),
    ['I5 job_2: dlv_2 is delivered, its receiver did not take it'],
  ],
  [
    'a delivery given up although it was taken',
    (run) => {
      run.deliveries[1] = deliveryOf(2, { state: 'failed' });
    },
    ['I5 job_2: dlv_2 is failed, its receiver took it'],
  ],
  [
    'a delivery of another end',
    (run) => {
      run.deliveries[1] = deliveryOf(2, { type: 'job.failed' });
    },
    ['I5 job_2: dlv_2 tells job.failed of a job that succeeded'],
  ],
  [
    'a wrong signature, also on a failed attempt',
    (run) => {
      run.arrivals[0] = arrivalOf(1, { answered: 500, verified: false });
    },
    ['I5 dlv_1: is not signed rightly'],
  ],
  [
    'a retry with another body',
    (run) => {
      run.arrivals[1] = arrivalOf(1, { body: '{"a":1}' });
    },
    ['I5 dlv_1: has two bodies'],
  ],
  [
    'a retry with the first timestamp',
    (run) => {
      run.arrivals[1] = arrivalOf(1, { atMs: 1_090_000 });
    },
    ['I5 dlv_1: carries an old timestamp'],
  ],
  [
    "a webhook at another tenant's receiver",
    (run) => {
      run.arrivals[2] = arrivalOf(2, { tenant: 'bob' });
    },
    ['I5 dlv_2: of no job of this tenant'],
  ],
  [
    'a call to a blocked address',
    (run) => {
      run.trapped = 1;
    },
    ['I5 trap: 1 connections to a blocked address'],
  ],
  [
    'an innocent that failed',
    (run) => {
      put(run, 1, jobOf(1, { ...failed, webhook: null }));
      run.seen.splice(0, 1);
      run.deliveries.splice(0, 1);
      run.arrivals.splice(0, 2);
    },
    ['I6 job_1: failed without a fault of its own: input_crashed_backend'],
  ],
  [
    "an innocent with its neighbour's numbers",
    (run) => {
      put(run, 1, jobOf(1, { predictions: [predictionOf(3)] }));
      run.seen.splice(0, 1);
    },
    ['I6 job_1: row 0 is not what digit 7 gives'],
  ],
  [
    'a result that lacks rows',
    (run) => {
      put(run, 1, jobOf(1, { predictions: [] }));
      run.seen.splice(0, 1);
    },
    ['I6 job_1: 0 predictions for 1 instances'],
  ],
  [
    'a poison that passes for another fault',
    (run) => put(run, 3, jobOf(3, { ...failed, error: { ...failure, code: 'internal' } })),
    ['I6 job_3: a poison that aborts: failed internal'],
  ],
  [
    'a leak',
    (run) => void run.leaks.push({ where: 'a log', found: 'canary-bob-0' }),
    ['I7 canary-bob-0: in a log'],
  ],
];

it.each(found)('names %s', (_, spoil, named) => {
  const run = sound();
  spoil(run);
  expect(judge(run)).toEqual(named);
});

it('knows whose a canary is', () => {
  const [ann, bob] = [newCanary('ann'), newCanary('bob')];
  expect(foreignCanaries(`{"a":"${ann}","b":"${bob}"}`, 'ann')).toEqual([bob]);
  expect(foreignCanaries(`${ann} ${bob}`, null)).toEqual([ann, bob]);
  expect(foreignCanaries(`{"a":"${ann}"}`, 'ann')).toEqual([]);
});
