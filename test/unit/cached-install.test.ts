/** An install leaves the whole folder in the cache, or nothing of it. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { type CachedInstall, installInCache } from '../../deploy/native/cached-install.js';
import { faultOfFiles, RECORD_FILE } from '../../shared/native/installed-files.js';

let cacheDir: string;
beforeEach(() => {
  cacheDir = mkdtempSync(join(tmpdir(), 'sluice-install-'));
  vi.spyOn(console, 'log').mockReturnValue();
});
afterEach(() => rmSync(cacheDir, { recursive: true, force: true }));

const place = () => join(cacheDir, 'lib-1');
const recordOf = () => JSON.parse(readFileSync(join(place(), RECORD_FILE), 'utf8'));
const fault = () => (existsSync(place()) ? faultOfFiles(place(), recordOf().files) : 'it is not there');

const install = (content: string, changes: Partial<CachedInstall> = {}) =>
  installInCache({
    cacheDir,
    name: 'lib-1',
    fault,
    async make(draft) {
      mkdirSync(join(draft, 'deep'));
      writeFileSync(join(draft, 'deep/a.so'), content);
      return { made: 'with care' };
    },
    ...changes,
  });

it('puts the folder in its place with a record of its files', async () => {
  await install('abc');
  expect(recordOf()).toEqual({ made: 'with care', files: { 'deep/a.so': 3 } });
  expect(fault()).toBeNull();
  expect(readdirSync(cacheDir)).toEqual(['lib-1']);
});

it('leaves what was there when the install breaks off', async () => {
  await install('abc');
  await expect(install('xyz', { make: () => Promise.reject(new Error('no disk')) })).rejects.toThrow(
    'no disk',
  );
  expect(readFileSync(join(place(), 'deep/a.so'), 'utf8')).toBe('abc');
  expect(readdirSync(cacheDir)).toEqual(['lib-1']);
});

it('replaces a faulty folder, and leaves a good one that another install has made meanwhile', async () => {
  await install('abc');
  writeFileSync(join(place(), 'deep/a.so'), 'damaged');
  expect(fault()).toBe('deep/a.so is missing or was changed');
  await install('xyz');
  expect(readFileSync(join(place(), 'deep/a.so'), 'utf8')).toBe('xyz');
  await install('123');
  expect(readFileSync(join(place(), 'deep/a.so'), 'utf8')).toBe('xyz');
});

it('removes what an install of long ago has left, and nothing of one that runs', async () => {
  const [old, young] = ['old', 'young'].map((name) => join(cacheDir, `.lib-1-${name}`)) as [string, string];
  for (const each of [old, young]) mkdirSync(each);
  utimesSync(old, 0, 0);
  await install('abc');
  expect(readdirSync(cacheDir)).toEqual(['.lib-1-young', 'lib-1']);
});
