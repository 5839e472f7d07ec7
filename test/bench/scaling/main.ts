/**
 * `npm run bench:scaling -- [--workers N,N] [--device-ms N,N] [--rounds N] [--seconds S] [--out DIR]`
 *
 * Measures how jobs a second grow with the number of workers. Each worker is the product's own but for its device, which is
 * simulated: it takes so many milliseconds for a batch of 32, and no processor time, so that many fit a small machine. Jobs
 * are four numbers and come through the queue without HTTP. A wrong answer ends it with code 1.
 */
import { parseArgs } from 'node:util';
import { systemClock as clock, toTimestamp } from '../../../shared/base/clock.js';
import { machineFacts } from '../machine.js';
import { optionsOrExit, toNumber, toNumbers } from '../option-values.js';
import { onSite, type Site, tell, writeResult } from '../site.js';
import { judge, type Row, toMarkdown } from './report.js';
import { openStage } from './stage.js';

interface Options {
  /** Numbers of workers; 1 is among them. */
  workers: number[];
  deviceMs: number[];
  rounds: number;
  seconds: number;
  out: string;
}

/** A slow device is measured for so many batches at least. */
const LEAST_BATCHES = 20;

const options = optionsOrExit(parseOptions);

await onSite(async (site) => {
  const rows: Row[] = [];
  for (const deviceMs of options.deviceMs) rows.push(...(await measure(site, deviceMs)));
  publish(rows, machineFacts(site.program.origin));
});

/** Returns a row for each number of workers, which are added in a round and stopped after it. */
async function measure(site: Site, deviceMs: number): Promise<Row[]> {
  const rows = options.workers.map((workers): Row => {
    const detail = `${workers}, each ${deviceMs} ms a batch`;
    return { id: `device${deviceMs}x${workers}`, detail, deviceMs, workers, samples: [] };
  });
  const stage = await openStage(site, deviceMs);
  const seconds = Math.max(options.seconds, (LEAST_BATCHES * deviceMs) / 1000);
  for (let round = 1; round <= options.rounds; round++) {
    tell(`${deviceMs} ms a batch, round ${round} of ${options.rounds} …`);
    for (const { workers, samples } of rows) samples.push(await stage.measure(workers, seconds));
    await stage.stopWorkers();
  }
  return rows;
}

function publish(rows: Row[], machine: Record<string, string | number>): void {
  const date = toTimestamp(clock.now());
  const text = toMarkdown(date, machine, rows);
  const json = { date, machine, plan: options, rows, promises: judge(rows) };
  writeResult(options.out, 'scaling-', date, 'md', text);
  writeResult(options.out, 'scaling-', date, 'json', `${JSON.stringify(json, null, 1)}\n`);
  console.log(text);
}

function parseOptions(args: string[]): Options {
  const { values } = parseArgs({
    args,
    options: {
      workers: { type: 'string', default: '1,2,4,8' },
      'device-ms': { type: 'string', default: '20,500' },
      rounds: { type: 'string', default: '3' },
      seconds: { type: 'string', default: '4' },
      out: { type: 'string', default: 'test/bench/results' },
    },
  });
  return {
    workers: [...new Set([1, ...toNumbers('workers', values.workers)])].sort((a, b) => a - b),
    deviceMs: toNumbers('device-ms', values['device-ms']),
    rounds: toNumber('rounds', values.rounds),
    seconds: toNumber('seconds', values.seconds),
    out: values.out,
  };
}
