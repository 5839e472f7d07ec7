/**
 * Answers that hold the predictions of many jobs: what is too much for one answer becomes a file.
 */
import { afterEach, beforeEach, expect, inject, it } from 'vitest';
import { createJobAnswers, withinBytes } from '../../api/follow/job-answers.js';
import { systemClock } from '../../shared/base/clock.js';
import { openFileBlobs } from '../../shared/blobs/filesystem.js';
import { loadConfig } from '../../shared/contract/config.js';
import { newId } from '../../shared/contract/ids.js';
import type { JobRecord } from '../../shared/contract/job.js';
import type { JobView } from '../../shared/contract/job-view.js';
import { packInstances } from '../../shared/contract/tensors/tensor.js';
import { composeCore } from '../../shared/core/compose.js';
import { openRedis, type Redis } from '../../shared/redis/connect.js';
import { idleConnections } from '../support/connections.js';
import { newJobSpec } from '../support/job-specs.js';
import { temporaryFolder } from '../support/started-redis.js';

const folder = temporaryFolder();
const prefix = `{answers-${newId('req', 0).slice(-10)}}`;
let redis: Redis;
beforeEach(async () => {
  redis = await openRedis(inject('redisUrl'), 'work', () => undefined);
});
afterEach(async () => {
  const left = await redis.keys(`${prefix}*`);
  if (left.length > 0) await redis.unlink(left);
  redis.disconnect();
  folder.remove();
});

const ended = (): JobRecord => ({
  spec: newJobSpec(),
  status: 'succeeded',
  createdAt: 1,
  expiresAt: 2,
  startedAt: 1,
  finishedAt: 2,
  deletedAfter: Date.now() + 60_000,
  attempts: 1,
  starts: 1,
  progress: null,
  ticket: null,
  history: [],
  end: { error: null, usageMs: 1, timings: null },
});

it('predictions beyond the bound of an answer are files, the same at each look', async () => {
  const blobs = await openFileBlobs(folder.path, systemClock);
  const config = { ...loadConfig({}), SLUICE_KEY_PREFIX: prefix };
  const core = composeCore(config, idleConnections(redis, blobs));
  const answers = createJobAnswers(core);
  const data = Buffer.from(Float32Array.of(0.5, 1.5).buffer);
  const output = packInstances([{ y: { dtype: 'float32', shape: [2], data } }]);
  const mayInline = withinBytes(2.5 * output.length);
  // Predictions that are a file anyway leave the room to the others.
  expect(mayInline(Buffer.alloc(3 * output.length))).toBe(false);
  const records = [ended(), ended(), ended()];
  const look = () => Promise.all(records.map((record) => answers.viewOf(record, output, mayInline)));
  const [first, second, third] = await look();
  expect([first?.predictions, second?.predictions]).toEqual([[[0.5, 1.5]], [[0.5, 1.5]]]);
  const { file, url } = (third as JobView).predictions as { file: string; url: string };
  expect(url).toContain(file);
  const kept = await core.files.get('acme', file);
  expect(JSON.parse(String(kept && (await core.files.read(kept))))).toEqual([[0.5, 1.5]]);
  const [, , again] = await look();
  expect(again?.predictions).toMatchObject({ file });
});
