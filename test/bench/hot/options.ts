/**
 * The options of the command line: each is checked at once, and what is wrong is told with what is taken.
 */
import { execFileSync } from 'node:child_process';
import { parseArgs } from 'node:util';
import { list } from '../../../shared/base/config.js';
import { messageOf } from '../../../shared/base/errors.js';
import { toNumber, toNumbers } from '../option-values.js';
import type { Plan } from './bench.js';
import { PROMISE_IDS, rowsFor } from './promises.js';
import { ROW_IDS, type RowId } from './samples.js';

export interface Options {
  plan: Plan;
  /** The program that runs what is measured, and its version. */
  node: string;
  nodeVersion: string;
  /** The folder of the results. */
  out: string;
}

/** @throws Error for an option that does not exist or is not of its form */
export function parseOptions(args: string[]): Options {
  const { values } = parseArgs({
    args,
    options: {
      only: { type: 'string', default: '' },
      rounds: { type: 'string', default: '5' },
      seconds: { type: 'string', default: '5' },
      inflight: { type: 'string', default: '64' },
      'poll-ms': { type: 'string', default: '10' },
      'rival-concurrency': { type: 'string', default: '1,8,32' },
      node: { type: 'string', default: process.execPath },
      out: { type: 'string', default: 'test/bench/results' },
    },
  });
  return {
    plan: {
      rounds: toNumber('rounds', values.rounds),
      seconds: toNumber('seconds', values.seconds),
      inFlight: toNumber('inflight', values.inflight),
      pollMs: toNumber('poll-ms', values['poll-ms']),
      rivalConcurrencies: toNumbers('rival-concurrency', values['rival-concurrency']),
      rows: toRows(list(values.only)),
    },
    node: values.node,
    nodeVersion: versionOf(values.node),
    out: values.out,
  };
}

/** All rows unless some promises are named. */
function toRows(ids: readonly string[]): ReadonlySet<RowId> {
  const unknown = ids.find((id) => !PROMISE_IDS.includes(id));
  if (unknown) throw new Error(`--only takes ${PROMISE_IDS.join(', ')}, not "${unknown}"`);
  return ids.length === 0 ? new Set(ROW_IDS) : rowsFor(ids);
}

function versionOf(node: string): string {
  try {
    return execFileSync(node, ['--version'], { encoding: 'utf8' }).trim();
  } catch (error) {
    throw new Error(`--node must be a Node program, not "${node}": ${messageOf(error)}`);
  }
}
