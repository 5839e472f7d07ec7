/**
 * F16: a thousand submits of one key at once, at two APIs.
 */
import { afterEach, expect, it } from 'vitest';
import { figure } from './figures.js';
import { isReady, openRoom, type Room, TENANTS } from './room.js';
import { until } from './until.js';
import { violationsIn } from './verdict-table.js';

const SUBMITS = 1000;
const INSIST_MS = 30_000;

let room: Room;
afterEach(() => room?.close());

it('is one job, and every answer names it; another body under that key is refused', async () => {
  room = await openRoom();
  const second = await room.stack.addApi();
  await until('the second API answers', 20_000, () => isReady(second));
  const [tenant, other] = TENANTS;
  const entry = room.ledger.open({ tenant, digits: [3], key: 'all at once' });
  const startedMs = performance.now();
  // A client without a certain answer, as on a machine that is busy for long, asks again: that is what a key is for.
  const submit = (nth: number) => room.client.insist(entry, () => (nth % 2 ? room.api : second), INSIST_MS);
  const answers = await Promise.all(Array.from({ length: SUBMITS }, (_, nth) => submit(nth)));
  const seconds = (performance.now() - startedMs) / 1000;
  const ids = new Set(
    answers.map((answer) => (answer.is === 'accepted' ? answer.job : JSON.stringify(answer))),
  );
  figure('F16', `jobs of ${SUBMITS} submits with one key, in ${seconds.toFixed(1)} s`, ids.size, '1');
  expect([...ids]).toEqual([expect.stringMatching(/^job_/)]);

  const rival = room.ledger.open({ tenant, digits: [4], key: 'all at once' });
  expect(await room.client.submit(rival, room.api)).toMatchObject({
    is: 'refused',
    status: 422,
    code: 'idempotency_key_reused',
  });
  const stranger = room.ledger.open({ tenant: other, digits: [4], key: 'all at once' });
  expect((await room.client.submit(stranger, second)).is, "another tenant's key is another key").toBe(
    'accepted',
  );
  expect(violationsIn(await room.verdicts())).toEqual([]);
});
