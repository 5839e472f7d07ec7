/** The counts of a shadow's copies, also of a copy that is done before its original. */
import { afterAll, beforeAll, expect, inject, it } from 'vitest';
import { newId } from '../../shared/contract/ids.js';
import type { JobRecord, JobSpec } from '../../shared/contract/job.js';
import type { Signature } from '../../shared/contract/models/manifest.js';
import { packInstances } from '../../shared/contract/tensors/tensor.js';
import { createShadows } from '../../shared/core/models/shadows.js';
import { openRedis, type Redis } from '../../shared/redis/connect.js';
import { createKeys } from '../../shared/redis/keys.js';
import { createManualClock } from '../support/manual-clock.js';
import { floats } from '../support/tiny-models.js';

const signature: Signature = {
  inputs: [{ name: 'x', dtype: 'float32', shape: [2] }],
  outputs: [{ name: 'y', dtype: 'float32', shape: [2] }],
};
const output = packInstances([floats('y', [1, 2])]);

let redis: Redis;
beforeAll(async () => {
  redis = await openRedis(inject('redisUrl'), 'work', () => undefined);
});
afterAll(() => redis.disconnect());

/** The original has each status in turn, and the last from then on. */
async function counted(statuses: (JobRecord['status'] | null)[], stateful?: 'allow') {
  const clock = createManualClock();
  const keys = createKeys(`{shadows-${newId('req', 0).slice(-10)}}`);
  let looks = 0;
  const getWithOutput = async () => {
    const status = statuses[Math.min(looks++, statuses.length - 1)];
    return status ? { record: { status } as JobRecord, output } : null;
  };
  const shadows = createShadows({ redis, keys, jobs: { getWithOutput }, clock });
  const spec = { model: 'm', version: 2, shadowOf: { id: 'job_1', tenant: 'ann' } } as JobSpec;
  const counting = shadows.count(spec, { signature, ...(stateful && { stateful }) }, output);
  await clock.advance(60_000);
  await counting;
  return { ...(await shadows.read('m', 2)), looks };
}

it.each<[string, (JobRecord['status'] | null)[], number, number]>([
  ['that has ended', ['succeeded'], 1, 1],
  ['that ends a little later', ['queued', 'running', 'running', 'succeeded'], 1, 4],
  ['that fails', ['running', 'failed'], 0, 2],
  ['that is gone', [null], 0, 1],
  ['that does not end', ['running'], 0, 50],
])('beside an original %s', async (_, statuses, compared, looks) => {
  expect(await counted(statuses)).toEqual({ compared, agreed: compared, failed: 0, looks });
});

it('is not compared where chance decides', async () => {
  expect(await counted(['succeeded'], 'allow')).toMatchObject({ compared: 0, agreed: 0, failed: 0 });
});
