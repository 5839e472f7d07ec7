/**
 * F29 and more: the process that delivers webhooks is killed in the middle of its work, again and again.
 */
import { afterEach, expect, it } from 'vitest';
import { IS_LONG } from '../support/long.js';
import { exited } from '../support/stack.js';
import { figure } from './figures.js';
import { openRoom, type Room, TENANTS } from './room.js';
import { until } from './until.js';
import { violationsIn } from './verdict-table.js';

const KILLS = IS_LONG ? 20 : 5;
/** The jobs between two kills, more than a process can deliver before the next kill. */
const JOBS = 20;
const START_MS = 20_000;
const DELIVERS = { SLUICE_ROLES: 'delivery' };
const ORDERS = Array.from({ length: JOBS }, (_, nth) => ({ tenant: TENANTS[0], digits: [nth % 10] }));

/** The due index finds a delivery that waited in a dead process after 50 s, and later the more deliveries waited there. */
const IN_LINE_MS = 90_000;
/** A receiver's circuit opens at the fifth failure in a row. */
const FAILURES = 5;

let room: Room;
afterEach(() => room?.close());

it('each end is told to each endpoint under one id, and none is missing', { timeout: 240_000 }, async () => {
  room = await openRoom({ env: { SLUICE_ROLES: 'inference,upkeep' } });
  const receiver = await room.endpoint();
  let nth = 0;
  // Every third delivery fails at first, so that some always wait for another attempt.
  await room.endpoint(undefined, { manner: (attempt) => (attempt === 1 && nth++ % 3 === 0 ? 500 : 204) });

  const ids: string[] = [];
  for (let kill = 1; kill <= KILLS; kill++) {
    const before = receiver.received.length;
    const deliverer = room.stack.addWorker(DELIVERS);
    ids.push(...(await room.submitAll(ORDERS)));
    await until(`the ${kill}. delivers`, START_MS, () => receiver.received.length > before + 3);
    deliverer.kill('SIGKILL');
    await exited(deliverer);
  }
  room.stack.addWorker(DELIVERS);
  const verdicts = await room.verdicts();
  expect(violationsIn(verdicts)).toEqual([]);

  const told = new Set(receiver.received.map(({ headers }) => headers['webhook-id']));
  expect(told.size).toBe(ids.length);
  figure('F29', `jobs told to an endpoint through ${KILLS} kills`, told.size, String(ids.length));
  figure('F29', 'told twice, under the same id', receiver.received.length - told.size, 'few');
});

it.skipIf(!IS_LONG)(
  'those that wait in line are told by others, once each',
  { timeout: 180_000 },
  async () => {
    room = await openRoom({ env: { SLUICE_ROLES: 'inference,upkeep' } });
    let isBack = false;
    const receiver = await room.endpoint(undefined, { manner: () => (isBack ? 204 : 500) });
    const deliverer = room.stack.addWorker(DELIVERS);
    const ids = await room.submitAll(ORDERS);
    await until('its circuit opens', START_MS, () => receiver.received.length > FAILURES);
    ids.push(...(await room.submitAll([...ORDERS, ...ORDERS, ...ORDERS])));
    await room.ended(ids);
    const firsts = async () => (await Promise.all(ids.map(room.deliveriesOf))).flat();
    const waiting = (await firsts()).filter(({ attempts }) => attempts === '0').length;
    expect(waiting).toBeGreaterThan(ids.length / 2);
    deliverer.kill('SIGKILL');
    await exited(deliverer);
    isBack = true;
    const killedMs = Date.now();
    room.stack.addWorker(DELIVERS);
    const verdicts = await room.verdicts({ restMs: IN_LINE_MS });
    expect(violationsIn(verdicts)).toEqual([]);
    figure(
      'F29',
      `seconds until ${waiting} in a line that died are told`,
      (Date.now() - killedMs) / 1000,
      '90',
    );
  },
);
