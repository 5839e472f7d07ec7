/** A short training on real digits writes an artefact as valid as the committed one. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { memory } from '@tensorflow/tfjs-core';
import { afterAll, expect, it } from 'vitest';
import { parse } from 'yaml';
import { sha256 } from '../../deploy/models/artefact.js';
import { makeMnist } from '../../deploy/models/mnist/make.js';
import type { Manifest } from '../../shared/contract/models/manifest.js';
import { checkManifest } from '../../shared/contract/models/manifest-check.js';

const out = mkdtempSync(join(tmpdir(), 'sluice-train-'));
afterAll(() => rmSync(out, { recursive: true, force: true }));

it('trains on 2,000 digits, tells the measured accuracy and seals what it wrote', async () => {
  const lines: string[] = [];
  const { testAccuracy } = await makeMnist({ epochs: 1, samples: 2000, out }, (line) => lines.push(line));

  expect(testAccuracy).toBeGreaterThan(0.7);
  expect(lines[0]).toMatch(/^epoch 1\/1: loss \d/);
  const folder = join(out, '1');
  const manifest = parse(readFileSync(join(folder, 'model.yaml'), 'utf8')) as Manifest;
  expect(checkManifest(manifest)).toEqual([]);
  expect(manifest.provenance).toMatchObject({ testAccuracy, trainDigits: 2000, epochs: 1 });
  for (const [path, digest] of Object.entries(manifest.files)) {
    expect(sha256(readFileSync(join(folder, path))), path).toBe(digest);
  }
  expect(memory().numTensors).toBe(0);
}, 60_000);
