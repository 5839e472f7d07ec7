/**
 * A real child over ten thousand batches, failures among them, and half as many before in which its heap finds its size: its
 * memory does not grow.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { systemClock } from '../../shared/base/clock.js';
import { createLogger } from '../../shared/base/log.js';
import type { Instance } from '../../shared/contract/tensors/tensor.js';
import { startBackendChildren } from '../../worker/inference/pool/backend-children.js';
import { createBatchRunner } from '../../worker/inference/pool/batch-runner.js';
import { floats, writeDense } from '../support/tiny-models.js';

const BATCHES = 15_000;
const WARM_UP = 5_000;
const MOST_GROWTH_BYTES = 30 * 1024 * 1024;

const folder = mkdtempSync(join(tmpdir(), 'sluice-endurance-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const good = Array.from({ length: 8 }, (_, i) => floats('x', [i, 2, 3]));
const infinite = [...good.slice(1), floats('x', [3e38, 3e38, 3e38])];
const unequal = [...good.slice(1), floats('x', [1])];

it('holds what it held', async () => {
  const tiny = writeDense(folder);
  const children = await startBackendChildren({
    child: new URL('../../dist/worker/inference/child/main.js', import.meta.url),
    options: { backend: 'wasm', librariesDir: folder, logLevel: 'silent' },
    environment: {},
    clock: systemClock,
    log: createLogger('test', 'silent'),
  });
  const runner = createBatchRunner(children);
  try {
    await children.load(tiny.folder, tiny.manifest);
    const child = () => children.states()[0];
    const pid = child()?.pid;
    const run = async (instances: Instance[]) => {
      const timeoutsMs = instances.map(() => 30_000);
      const { results } = await runner.run({ model: 'dense', version: 1, instances, timeoutsMs });
      return results.filter(({ ok }) => !ok).length;
    };
    const held: number[] = [];
    let failures = 0;
    for (let i = 0; i < BATCHES; i++) {
      failures += await run(i % 10 === 3 ? infinite : i % 100 === 7 ? unequal : good);
      if (i >= WARM_UP) held.push(child()?.rssBytes ?? 0);
    }
    expect(failures).toBe(BATCHES / 10 + BATCHES / 100);
    expect(child()?.pid, 'it is still the first child').toBe(pid);
    const [early, late] = [held.slice(0, 500), held.slice(-500)].map((part) => Math.min(...part)) as [
      number,
      number,
    ];
    console.warn(
      `RSS of a child over ${BATCHES} batches: ${(early / 1e6).toFixed(1)} MB, then ${(late / 1e6).toFixed(1)} MB`,
    );
    expect(late - early).toBeLessThan(MOST_GROWTH_BYTES);
  } finally {
    await children.close();
  }
});
