/**
 * Promises: what the hot path is held to, each a ratio of two rows of the same round or a count, with its goal.
 */
import { median } from '../figures.js';
import { type Goal, isMet, type Judged } from '../goals.js';
import { type Figure, figuresOf, quotientsOf, type Row, type RowId } from './samples.js';

/** A line of a promise; a promise may have several, under one id. */
export interface PromiseLine {
  id: string;
  title: string;
  goal: Goal;
  /** The rows that are compared: the first ÷ the second; with one row its own figure counts. */
  rows: readonly [RowId, RowId?];
  figure: Figure;
}

const perSecond: Figure = (sample) => sample.perSecond;

const LINES: readonly PromiseLine[] = [
  line('P1', 'jobs/s, held requests: Sluice ÷ rival', { least: 1.6 }, ['sluice', 'rival'], perSecond),
  line('P1', 'jobs/s, polling: Sluice ÷ rival', { least: 1.4 }, ['pollSluice', 'pollRival'], perSecond),
  line('P2', 'jobs/s, base64 rows: Sluice ÷ rival, held', { least: 2.2 }, ['base64', 'rival'], perSecond),
  line('P2', 'jobs/s, bulk submits: Sluice ÷ rival, held', { least: 4 }, ['bulk', 'rival'], perSecond),
  line('P3', 'p50 of a lone job: Sluice ÷ rival', { most: 1 }, ['sluice1', 'rival1'], ({ p50Ms }) => p50Ms),
  line('P3', 'p99 of a lone job: Sluice ÷ rival', { most: 1.1 }, ['sluice1', 'rival1'], ({ p99Ms }) => p99Ms),
  line(
    'P4',
    'CPU of Redis a job: Sluice ÷ rival',
    { most: 0.5 },
    ['sluice', 'rival'],
    (s) => s.redisCpuMsPerJob,
  ),
  line('P4', 'commands in scripts a job', { most: 12 }, ['sluice'], (s) => s.scriptCommandsPerJob),
  line('P4', 'scripts a lone job', { most: 4 }, ['sluice1'], (s) => s.scriptsPerJob),
  line(
    'P5',
    'CPU of the API a job ÷ bare Koa route',
    { most: 1.8 },
    ['sluice', 'bareRoute'],
    (s) => s.apiCpuMsPerJob,
  ),
  line('P7', 'memory: Sluice ÷ rival', { most: 1.3 }, ['sluice', 'rival'], ({ memoryMb }) => memoryMb),
];

export const PROMISE_IDS = [...new Set(LINES.map(({ id }) => id))];

/** Returns the rows that the promises of these ids need. */
export function rowsFor(ids: readonly string[]): Set<RowId> {
  const needed = LINES.filter(({ id }) => ids.includes(id)).flatMap(({ rows }) => rows);
  return new Set(needed.filter((id) => id !== undefined));
}

/** Returns what came of each promise; one without rows is left out. */
export function judge(rows: readonly Row[]): Judged[] {
  const measured = new Set(rows.map(({ id }) => id));
  const lines = LINES.filter((each) => each.rows.every((id) => id === undefined || measured.has(id)));
  return lines.map(({ id, title, goal, figure, rows: [above, below] }) => {
    const values = below
      ? quotientsOf(rows, above, below, figure)
      : figuresOf(rows, above, figure).filter(Number.isFinite);
    const middle = median(values);
    const [low, high] = values.length ? [Math.min(...values), Math.max(...values)] : [Number.NaN, Number.NaN];
    return { id, title, goal, median: middle, low, high, met: isMet(goal, middle) };
  });
}

function line(id: string, title: string, goal: Goal, rows: PromiseLine['rows'], figure: Figure): PromiseLine {
  return { id, title, goal, rows, figure };
}
