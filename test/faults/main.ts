/**
 * `npm run test:chaos -- [--minutes N] [--seed N]`
 *
 * Makes faults by chance for some minutes while clients do all that clients do, heals everything, waits for rest, and
 * judges. Ends with code 1 when a promise was broken, a process crashed or there was no rest. The seed repeats the faults.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { messageOf } from '../../shared/base/errors.js';
import { JOB_EVENTS } from '../../shared/contract/webhooks/events.js';
import { openReceiver } from '../support/receiver.js';
import { ROOT } from '../support/stack.js';
import { heal, make, type Scene } from './acts.js';
import { startFleet } from './fleet.js';
import { startLoad } from './mixed-load.js';
import { isReady, openRoom, type Room, TENANTS } from './room.js';
import { type Fault, scheduleOf } from './schedule.js';
import { until } from './until.js';
import { tableOf, violationsIn } from './verdict-table.js';

const { values } = parseArgs({
  options: { minutes: { type: 'string', default: '5' }, seed: { type: 'string', default: '1' } },
});
const minutes = numberOf('minutes', values.minutes);
const seed = numberOf('seed', values.seed);

const READY_MS = 60_000;
/** A lost lock, then a delivery's second attempt, on a machine that is busy. */
const REST_MS = 240_000;
const PRELOAD = `--import=${ROOT}/.build/test/faults/poison.js`;
const ENV = { NODE_OPTIONS: PRELOAD, COMPUTE_MS: '60', SLUICE_WEBHOOK_ALLOW_PRIVATE: '127.0.0.1/32' };

let startedMs = performance.now();
const tell = (line: string) => {
  const at = ((performance.now() - startedMs) / 1000).toFixed(1).padStart(7);
  process.stdout.write(`${at}  ${line}\n`);
};
const stopping = new AbortController();
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.on(name, () => stopping.abort(new Error(`interrupted by ${name}`)));

const room = await openRoom({ env: ENV, workers: 0 });
try {
  process.exitCode = (await run(room)) ? 0 : 1;
} catch (error) {
  tell(messageOf(error));
  process.exitCode = 1;
} finally {
  await room.close();
}
process.exit();

async function run(room: Room): Promise<boolean> {
  const trap = await openReceiver((response) => void response.end(), '127.0.0.2');
  const fleet = await startFleet(room, ENV);
  const scene: Scene = { room, fleet, receivers: { areRefusing: false } };
  for (const url of fleet.urls) await until(`${url} answers`, READY_MS, () => isReady({ url }));
  await room.serving(2);

  const { client, ledger } = room;
  const receivers = await openReceivers(scene, trap.url);
  startedMs = performance.now();
  tell(`seed ${seed}, ${minutes} minutes`);
  const load = startLoad({ client, ledger, seed, urls: fleet.urls, receivers, trap: trap.url });
  const faults = await makeFaults(scene, scheduleOf(seed, minutes * 60_000));
  tell('everything is healed; waiting for rest');
  await load.stop();
  tell('no request is under way');
  const verdicts = await room.verdicts({ trapped: trap.connections(), restMs: REST_MS, tell });
  fleet.close();
  await trap.close();

  tell('at rest');
  report('what clients did', load.counts);
  report('faults', faults);
  console.log(`\n${tableOf(verdicts)}`);
  console.log(`bad ends: ${fleet.badEnds.length === 0 ? 'none' : `\n${fleet.badEnds.join('\n')}`}`);
  console.log(`ended by their own bound: ${fleet.forcedEnds.join(', ') || 'none'}`);
  return violationsIn(verdicts).length === 0 && fleet.badEnds.length === 0;
}

/** A receiver for each tenant; one that refuses does so once for each delivery, by turns with an error or a redirect. */
async function openReceivers(scene: Scene, elsewhere: string): Promise<Record<string, string>> {
  const urls: Record<string, string> = {};
  for (const tenant of TENANTS) {
    let refused = 0;
    const receiver = await scene.room.receive({
      tenant,
      manner(attempt, response) {
        if (attempt > 1 || !scene.receivers.areRefusing) return 204;
        const status = refused++ % 2 ? 500 : 307;
        response.writeHead(status, { location: elsewhere }).end();
        return status;
      },
    });
    urls[tenant] = receiver.url;
    await scene.room.endpoint(JOB_EVENTS, { tenant });
  }
  return urls;
}

/** Makes each fault in its time and heals it in its time; resolves when all are healed. */
async function makeFaults(scene: Scene, faults: readonly Fault[]): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  const healing: Promise<void>[] = [];
  for (const fault of faults) {
    await pause(Math.max(0, fault.atMs - (performance.now() - startedMs)), undefined, {
      signal: stopping.signal,
    });
    counts[fault.kind] = (counts[fault.kind] ?? 0) + 1;
    tell(`${fault.target} ${fault.kind} for ${fault.lastsMs} ms`);
    await make(scene, fault);
    healing.push(pause(fault.lastsMs).then(() => heal(scene, fault)));
  }
  await Promise.all(healing);
  return counts;
}

function report(what: string, counts: Record<string, number>): void {
  const facts = Object.entries(counts).map(([name, count]) => `${count} ${name}`);
  console.log(`${what}: ${facts.join(', ')}`);
}

function numberOf(option: string, text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new Error(`--${option} must be a number above 0, not "${text}"`);
  return value;
}
