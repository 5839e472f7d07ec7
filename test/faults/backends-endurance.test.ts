/**
 * Every backend that this machine can load over ten thousand batches, failures among them: no tensor is left behind.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../shared/base/clock.js';
import { loadConfig } from '../../shared/contract/config.js';
import { chooseBackend } from '../../worker/backends/choose.js';
import { createLoadedVersions } from '../../worker/inference/child/loaded-versions.js';
import { LOCAL_BACKENDS, runOn } from '../support/local-backends.js';
import { floats } from '../support/tiny-models.js';

for (const { name, fault } of LOCAL_BACKENDS) if (fault) console.warn(`!!! SKIPPED: ${name} (${fault})`);
const root = mkdtempSync(join(tmpdir(), 'sluice-endurance-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

describe.each(LOCAL_BACKENDS)('backend $name', ({ name, fault, models }) => {
  it.skipIf(fault !== null)('leaves nothing behind', async () => {
    const { backend } = await chooseBackend(name, loadConfig().SLUICE_CACHE_DIR);
    const tiny = models.dense(mkdtempSync(join(root, 'many-')));
    const before = backend.liveTensors();
    const versions = createLoadedVersions(backend, systemClock);
    await versions.load(tiny.folder, tiny.manifest);
    const loaded = backend.liveTensors();
    const good = [floats('x', [1, 2, 3]), floats('x', [4, 5, 6])];
    const infinite = [floats('x', [3e38, 3e38, 3e38]), floats('x', [1, 2, 3])];
    const unequal = [floats('x', [1, 2, 3]), floats('x', [1])];
    const codes = { ok: 0, infinite: 0, thrown: 0 };
    for (let i = 0; i < 10_000; i++) {
      const instances = i % 10 === 3 ? infinite : i % 10 === 7 ? unequal : good;
      const results = await runOn(versions, 'dense', 1, instances).catch(() => null);
      if (results === null) codes.thrown++;
      else if (results[0]?.ok === false && results[0].code === 'non_finite_output') codes.infinite++;
      else codes.ok++;
    }
    expect(codes).toEqual({ ok: 8000, infinite: 1000, thrown: 1000 });
    expect(backend.liveTensors()).toBe(loaded);
    // 50 versions come and go, some of which do not load.
    for (let i = 0; i < 50; i++) {
      const next = models.dense(mkdtempSync(join(root, 'swap-')), i % 5 === 4 ? { shard: 'gone.bin' } : {});
      await versions.load(next.folder, next.manifest).catch(() => undefined);
      await runOn(versions, 'dense', 1, good);
    }
    expect(backend.liveTensors()).toBe(loaded);
    versions.unload('dense', 1);
    expect(backend.liveTensors()).toBe(before);
  });
});
