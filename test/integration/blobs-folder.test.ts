/**
 * The properties that only a folder has: its files are visible, and its disk can be full.
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../shared/base/clock.js';
import { type BlobStore, STALE_UPLOAD_MS } from '../../shared/blobs/blobs.js';
import { openFileBlobs } from '../../shared/blobs/filesystem.js';
import { openBlobs } from '../../shared/blobs/open.js';
import { type OpenedStore, openFolder, uploadsOf } from '../support/blob-stores.js';
import { temporaryFolder } from '../support/started-redis.js';

const MIB = 1024 * 1024;
const full = expect.objectContaining({ code: 'unavailable', message: 'The blob store is full.' });

let opened: OpenedStore;
beforeEach(async () => {
  opened = await openFolder();
});
afterEach(() => opened.close());

describe('the files', () => {
  it('lie fanned out, for nobody else to read', async () => {
    const { store, folder } = opened;
    const names = Array.from({ length: 64 }, (_, i) => `jobs/job_${i}/output`);
    for (const name of names) await store.put(name, Buffer.of(1));
    const blobs = join(folder, 'blobs');
    const paths = readdirSync(blobs, { recursive: true, encoding: 'utf8' });
    const files = paths.filter((path) => statSync(join(blobs, path)).isFile());
    expect(files).toHaveLength(64);
    expect(new Set(files.map((file) => file.slice(0, 2))).size).toBeGreaterThan(32);
    for (const file of files) {
      expect(file).toMatch(/^[0-9a-f]{2}\/jobs,job_\d+,output$/);
      expect(statSync(join(blobs, file)).mode & 0o777).toBe(0o600);
    }
    for (const path of paths.filter((path) => !files.includes(path)))
      expect(statSync(join(blobs, path)).mode & 0o777).toBe(0o700);
    expect(statSync(blobs).mode & 0o777).toBe(0o700);
  });

  it('are found again by another process', async () => {
    await opened.store.put('a/b', Buffer.from('kept'));
    const again = await openBlobs(opened.config, systemClock);
    expect(String(await again.get('a/b'))).toBe('kept');
  });

  it('of puts that failed are gone at once; those of killed ones once they are old', async () => {
    const { store } = opened;
    const uploads = uploadsOf(opened);
    await expect(store.put('a', Readable.from([Buffer.alloc(MIB), 5]))).rejects.toThrow();
    expect(readdirSync(uploads)).toEqual([]);
    const now = systemClock.now();
    for (const [name, ageMs] of [
      ['killed', STALE_UPLOAD_MS + 5000],
      ['under-way', STALE_UPLOAD_MS - 60_000],
    ] as const) {
      writeFileSync(join(uploads, name), 'half');
      utimesSync(join(uploads, name), new Date(now), new Date(now - ageMs));
    }
    expect(await store.sweep()).toBe(1);
    expect(readdirSync(uploads)).toEqual(['under-way']);
    expect(await store.sweep()).toBe(0);
  });

  it('of others are left alone', async () => {
    mkdirSync(join(opened.folder, 'blobs', 'lost+found'));
    mkdirSync(join(opened.folder, 'blobs', 'ab'));
    writeFileSync(join(opened.folder, 'blobs', 'ab', '.DS_Store'), '');
    for await (const { key } of opened.store.list('')) expect.unreachable(key);
  });
});

describe('a folder that fails', () => {
  it('is unavailable when it is gone', async () => {
    rmSync(join(opened.folder, 'blobs'), { recursive: true });
    const gone = expect.objectContaining({ code: 'unavailable', message: 'The blob store failed.' });
    await expect(opened.store.put('a', Buffer.of(1))).rejects.toEqual(gone);
    await expect(opened.store.sweep()).rejects.toEqual(gone);
    expect(await opened.store.get('a')).toBeNull();
  });

  it('is unavailable when it cannot be made', async () => {
    writeFileSync(join(opened.folder, 'file'), '');
    await expect(openFileBlobs(join(opened.folder, 'file', 'blobs'), systemClock)).rejects.toMatchObject({
      code: 'unavailable',
      cause: { code: 'ENOTDIR' },
    });
  });
});

describe('a full disk', () => {
  const disk = mountSmallDisk();
  afterAll(() => disk?.unmount());

  const title = `says so, leaves nothing and works again${disk ? '' : ' (SKIPPED: this user cannot mount one)'}`;
  it.skipIf(!disk)(title, async () => {
    const store = await openFileBlobs(join(disk?.path ?? '', 'blobs'), systemClock);
    const uploads = join(disk?.path ?? '', 'blobs', 'uploads');
    await store.put('there', Buffer.alloc(MIB));
    for (const content of [Buffer.alloc(8 * MIB), Readable.from([Buffer.alloc(8 * MIB)])]) {
      const put = store.put('new', content);
      await expect(put).rejects.toEqual(full);
      await expect(put).rejects.toMatchObject({ cause: { code: 'ENOSPC' } });
      expect(readdirSync(uploads)).toEqual([]);
    }
    expect(await store.get('new')).toBeNull();
    await expect(store.put('there', Buffer.alloc(8 * MIB))).rejects.toEqual(full);
    expect((await store.get('there'))?.length).toBe(MIB);

    for (const size of [MIB, 64 * 1024, 1]) await fill(store, size);
    await expect(store.put('new', Buffer.of(1))).rejects.toEqual(full);
    await store.delete('there');
    await store.put('new', Buffer.alloc(MIB / 2));
  });
});

it('says so of a file that may not grow any more, and leaves nothing', async () => {
  const folder = temporaryFolder();
  const child = new URL('../../.build/test/support/blob-limited.js', import.meta.url).pathname;
  // The limit is half a MiB, in blocks of 1024 bytes. The process ignores the signal, so a write fails with EFBIG.
  const command = `trap '' XFSZ; ulimit -f 512; exec "$0" "$@"`;
  const shell = spawn('bash', ['-c', command, process.execPath, child, folder.path], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [output] = await Promise.all([text(shell.stdout), once(shell, 'exit')]);
  expect(JSON.parse(output)).toEqual({
    code: 'unavailable',
    message: 'The blob store is full.',
    cause: 'EFBIG',
    uploads: [],
    found: null,
    small: 1,
  });
  folder.remove();
});

/** Puts blobs of one size until no more fits. */
async function fill(store: BlobStore, size: number): Promise<void> {
  for (let i = 0; i < 10_000; i++) {
    try {
      await store.put(`fill/${size}/${i}`, Buffer.alloc(size));
    } catch (error) {
      expect(error).toEqual(full);
      return;
    }
  }
}

/** Mounts a disk of 4 MiB in memory, where the user of the tests may do so. */
function mountSmallDisk(): { path: string; unmount(): void } | null {
  const folder = temporaryFolder();
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', folder.path], { stdio: 'ignore' });
  } catch {
    folder.remove();
    return null;
  }
  const unmount = () => {
    execFileSync('umount', [folder.path]);
    folder.remove();
  };
  return { path: folder.path, unmount };
}
