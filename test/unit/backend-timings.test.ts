/** The file of backend timings: what was kept is found again, and the file does not grow for ever. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Manifest } from '../../shared/contract/models/manifest.js';
import { type FastestBackend, openBackendTimings } from '../../worker/inference/versions/backend-timings.js';

const FASTEST: FastestBackend = { backend: 'wasm', comparison: { wasm: [], cpu: 'not timed: too slow' } };
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-timings-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const versionOf = (version: number) => ({ name: 'm', version, files: {}, batching: {} }) as Manifest;
const open = () => openBackendTimings(folder, (error) => expect.fail(String(error)));
const file = () => join(folder, 'backend-choices.json');

it('finds what another process kept, for the version and the machine alone', () => {
  open().set(versionOf(1), FASTEST);
  expect(open().get(versionOf(1))).toEqual(FASTEST);
  expect(open().get(versionOf(2))).toBeNull();
  const other = { childCount: 2 };
  expect(openBackendTimings(folder, () => undefined, other).get(versionOf(1))).toBeNull();
});

it('begins anew where the file is damaged', () => {
  writeFileSync(file(), '{"m@1');
  expect(open().get(versionOf(1))).toBeNull();
  open().set(versionOf(1), FASTEST);
  expect(open().get(versionOf(1))).toEqual(FASTEST);
});

it('keeps the newest thousand', () => {
  const entries = Array.from({ length: 1000 }, (_, i) => [`old@${i}`, FASTEST]);
  writeFileSync(file(), JSON.stringify(Object.fromEntries(entries)));
  open().set(versionOf(1), FASTEST);
  const kept = Object.keys(JSON.parse(readFileSync(file(), 'utf8')));
  expect(kept).toHaveLength(1000);
  expect(kept).not.toContain('old@0');
  expect(kept[0]).toBe('old@1');
  expect(open().get(versionOf(1))).toEqual(FASTEST);
});
