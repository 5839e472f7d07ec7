/** The bench judges by these: a goal that is missed and a command that is not counted would be told as good news. */
import { describe, expect, test } from 'vitest';
import { goalText, isMet, verdictOn } from '../bench/goals.js';
import { parseOptions } from '../bench/hot/options.js';
import { judge, PROMISE_IDS, rowsFor } from '../bench/hot/promises.js';
import { createCommandCounter } from '../bench/hot/redis-commands.js';
import { ROW_IDS, type Row, type RowId, type Sample } from '../bench/hot/samples.js';
import {
  judge as judgeScaling,
  type Row as ScalingRow,
  type Sample as ScalingSample,
  wallOf,
} from '../bench/scaling/report.js';

describe('goals', () => {
  test.each([
    [{ least: 1.6 }, 1.6, 'met', '≥ 1.6'],
    [{ least: 1.6 }, 1.59, 'missed', '≥ 1.6'],
    [{ most: 1 }, 1, 'met', '≤ 1'],
    [{ most: 1 }, 1.01, 'missed', '≤ 1'],
  ])('%j is judged for %d: %s', (goal, figure, verdict, text) => {
    expect(verdictOn(goal, figure)).toBe(verdict);
    expect(goalText(goal)).toBe(text);
  });

  test('are not met by what was not measured', () => {
    expect([isMet({ least: 1 }, Number.NaN), isMet({ most: 1 }, Number.NaN)]).toEqual([false, false]);
    expect(verdictOn({ most: 1 }, Number.NaN)).toBe('–');
  });
});

describe('promises', () => {
  const row = (id: RowId, samples: Partial<Sample>[]): Row => ({
    id,
    name: id,
    detail: '',
    unit: 'jobs',
    samples: samples.map((sample) => ({ perSecond: 1, cpuMsPerJob: null, ...sample })),
  });

  test('divide within a round and take the median of the rounds', () => {
    const rows = [
      row('sluice', [{ perSecond: 100 }, { perSecond: 300 }, { perSecond: 40 }]),
      row('rival', [{ perSecond: 50 }, { perSecond: 100 }, { perSecond: 40 }]),
    ];
    const [held] = judge(rows);
    expect(held).toMatchObject({ id: 'P1', median: 2, low: 1, high: 3, met: true });
  });

  test('leave out a round that lacks one of the two, and are missed without any', () => {
    const lone = [row('sluice1', [{ p50Ms: 2 }, { p50Ms: 9 }]), row('rival1', [{ p50Ms: 4 }, {}])];
    const [p50, p99] = judge(lone).filter(({ id }) => id === 'P3');
    expect(p50).toMatchObject({ median: 0.5, low: 0.5, high: 0.5, met: true });
    expect(p99).toMatchObject({ median: Number.NaN, met: false });
  });

  test('take a figure of one row as it is', () => {
    const judged = judge([row('sluice1', [{ scriptsPerJob: 4.5 }, { scriptsPerJob: 3.5 }])]);
    expect(judged).toMatchObject([{ id: 'P4', median: 4, low: 3.5, high: 4.5, met: true }]);
  });

  test('name the rows that they need, so that a part can be measured alone', () => {
    expect([...rowsFor(['P3'])].sort()).toEqual(['rival1', 'sluice1']);
    const rows = [...rowsFor(PROMISE_IDS)].map((id) => row(id, [{}]));
    expect(new Set(judge(rows).map(({ id }) => id))).toEqual(new Set(PROMISE_IDS));
  });
});

test('commands of MONITOR are counted by who called them, however the lines are cut', () => {
  const lines = [
    '+1.5 [0 127.0.0.1:60866] "EVALSHA" "abc" "1" "key"',
    '+1.6 [0 lua] "hset" "key" "a \\"quoted\\" [0 lua] \\"evalsha\\""',
    '+1.7 [0 lua] "zadd" "key" "0" "id"',
    '+1.8 [0 127.0.0.1:60866] "hmget" "key" "spec"',
    '+1.9 [0 unix:/redis.sock] "fcall" "settle" "0"',
    '+OK',
  ];
  const text = lines.map((line) => `${line}\r\n`).join('');
  for (const size of [text.length, 7, 1]) {
    const counter = createCommandCounter();
    for (let start = 0; start < text.length; start += size) counter.take(text.slice(start, start + size));
    expect(counter.counts).toEqual({ scripts: 2, inScripts: 2 });
  }
});

describe('scaling', () => {
  const sample = (perSecond: number, load = {}): ScalingSample => ({
    perSecond,
    meanBatch: 32,
    redisMsPerJob: 0.05,
    load: { devices: 0.5, redis: 0.5, cores: 0.5, ...load },
  });
  const row = (deviceMs: number, workers: number, speeds: number[]): ScalingRow => ({
    id: `${deviceMs}x${workers}`,
    detail: `${workers} on ${deviceMs}`,
    deviceMs,
    workers,
    samples: speeds.map((speed) => sample(speed)),
  });

  test('divides by as many single workers on the same device in the same round', () => {
    const rows = [
      row(20, 1, [100, 50]),
      row(500, 1, [10, 10]),
      row(20, 4, [400, 100]),
      row(500, 2, [17, 17]),
    ];
    expect(judgeScaling(rows)).toMatchObject([
      { title: '4 on 20', median: 0.75, low: 0.5, high: 1, met: false },
      { title: '2 on 500', median: 0.85, met: false },
    ]);
    expect(judgeScaling([row(20, 1, [100]), row(20, 2, [180])])).toMatchObject([{ median: 0.9, met: true }]);
  });

  test.each([
    [{ devices: 0.95, cores: 1 }, 'devices'],
    [{ redis: 0.9 }, 'Redis'],
    [{ cores: 0.97, redis: 0.89 }, 'cores'],
    [{}, '–'],
  ])('calls what is full in %j: %s', (load, wall) => {
    expect(wallOf(sample(1, load).load)).toBe(wall);
  });
});

describe('options', () => {
  test('choose rows by promises, all by default', () => {
    expect([...parseOptions(['--only', 'P3']).plan.rows].sort()).toEqual(['rival1', 'sluice1']);
    expect([...parseOptions([]).plan.rows]).toEqual(ROW_IDS);
    expect(parseOptions([]).nodeVersion).toBe(process.version);
  });

  test.each([
    [['--only', 'P3,P99'], '--only takes P1, P2, P3, P4, P5, P7, not "P99"'],
    [['--rounds', '0'], '--rounds must be a number above 0, not "0"'],
    [['--rival-concurrency', '1,x'], '--rival-concurrency must be a number above 0, not "x"'],
    [['--node', '/no/such/node'], '--node must be a Node program, not "/no/such/node"'],
    [['--round', '1'], "Unknown option '--round'"],
  ])('%j is refused', (args, message) => {
    expect(() => parseOptions(args)).toThrow(message);
  });
});
