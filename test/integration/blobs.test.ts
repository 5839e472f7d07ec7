import { fork } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isBlobKey, type ListedBlob } from '../../shared/blobs/blobs.js';
import { type OpenedStore, STORES } from '../support/blob-stores.js';

const MIB = 1024 * 1024;
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
/** Yields the bytes in pieces of an odd size, as a network does. */
const streamOf = (bytes: Buffer) =>
  Readable.from(
    (function* () {
      for (let i = 0; i < bytes.length; i += 60_001) yield bytes.subarray(i, i + 60_001);
    })(),
  );

const HOSTILE = [
  '',
  '.',
  '..',
  '/',
  '/etc/passwd',
  '../escape',
  'a/../../escape',
  'a/..',
  'a/./b',
  'a//b',
  'a/',
  '.hidden',
  'a/.hidden',
  'a..b',
  'a\\..\\b',
  'a\0b',
  'a\nb',
  'a,b',
  'a b',
  '%2e%2e/escape',
  'ä',
  'x'.repeat(241),
];

describe.each(STORES)('blobs in %s', (_, openStore) => {
  let opened: OpenedStore;
  const store = () => opened.store;

  beforeEach(async () => {
    opened = await openStore();
  });
  afterEach(() => opened.close());

  async function listed(prefix: string): Promise<ListedBlob[]> {
    const blobs: ListedBlob[] = [];
    for await (const blob of store().list(prefix)) blobs.push(blob);
    return blobs.sort((a, b) => (a.key < b.key ? -1 : 1));
  }
  const keys = async (prefix: string) => (await listed(prefix)).map(({ key }) => key);

  it.each([0, 1, 8 * MIB])('keeps %i bytes, from memory and from a stream', async (size) => {
    const bytes = randomBytes(size);
    const stored = { sizeBytes: size, sha256: sha256(bytes) };
    expect(await store().put('some/buffer', bytes)).toEqual(stored);
    expect(await store().put('some/stream', streamOf(bytes))).toEqual(stored);
    for (const key of ['some/buffer', 'some/stream']) {
      expect(bytes.equals((await store().get(key)) ?? Buffer.of(0))).toBe(true);
      const blob = await store().open(key);
      expect(blob?.sizeBytes).toBe(size);
      expect(bytes.equals(await buffer(blob?.stream as Readable))).toBe(true);
    }
    expect((await listed('some/')).map(({ sizeBytes }) => sizeBytes)).toEqual([size, size]);
  });

  it('knows no unknown key, nor one that only begins as another', async () => {
    await store().put('a/b', Buffer.of(1));
    for (const key of ['x', 'a', 'a/b/c', 'a/bc']) {
      expect(await store().get(key)).toBeNull();
      expect(await store().open(key)).toBeNull();
    }
  });

  it('keeps a key and keys below it apart', async () => {
    await store().put('a', Buffer.from('one'));
    await store().put('a/b', Buffer.from('two'));
    await store().delete('a');
    expect(await store().get('a')).toBeNull();
    expect(String(await store().get('a/b'))).toBe('two');
  });

  it('deletes once, twice, and what never was', async () => {
    await store().put('a/b', Buffer.of(1));
    for (let i = 0; i < 2; i++) await store().delete('a/b');
    await store().delete('never/was');
    expect(await store().get('a/b')).toBeNull();
    expect(await keys('')).toEqual([]);
  });

  it('reads a part of a blob, both ends included', async () => {
    const bytes = randomBytes(2 * MIB);
    await store().put('a', bytes);
    const whole = { start: 0, end: bytes.length - 1 };
    for (const range of [whole, { start: 0, end: 0 }, { start: MIB - 7, end: MIB + 7 }]) {
      const part = await store().open('a', range);
      expect(part?.sizeBytes).toBe(range.end - range.start + 1);
      const read = await buffer(part?.stream as Readable);
      expect(read.equals(bytes.subarray(range.start, range.end + 1))).toBe(true);
    }
    expect(await store().open('b', whole)).toBeNull();
  });

  it('replaces a blob, while whoever has begun to read the old one reads it to its end', async () => {
    const old = randomBytes(2 * MIB);
    await store().put('a', old);
    const reading = await store().open('a');
    await store().put('a', Buffer.from('new'));
    expect(old.equals(await buffer(reading?.stream as Readable))).toBe(true);
    expect(String(await store().get('a'))).toBe('new');
  });

  it('lists by prefix, over several pages, with times', async () => {
    const startMs = Date.now();
    const all = ['a/1', 'a/2', 'a/3', 'a/4', 'a/5', 'ab/1', 'b', 'b.c/d_e-f'];
    for (const key of all) await store().put(key, Buffer.from(key));
    expect(await keys('')).toEqual(all);
    expect(await keys('a')).toEqual(all.slice(0, 6));
    expect(await keys('a/')).toEqual(all.slice(0, 5));
    expect(await keys('a/4')).toEqual(['a/4']);
    expect(await keys('c')).toEqual([]);
    for (const { lastModifiedMs } of await listed('')) {
      // A store may round to whole seconds.
      expect(lastModifiedMs).toBeGreaterThan(startMs - 1001);
      expect(lastModifiedMs).toBeLessThan(Date.now() + 1001);
    }
  });

  it('can be left in the middle of a list and of a blob', async () => {
    for (const key of ['a', 'b', 'c', 'd', 'e']) await store().put(key, Buffer.alloc(MIB));
    for await (const { key } of store().list('')) if (key) break;
    const blob = await store().open('a');
    blob?.stream.destroy();
    expect(await keys('')).toEqual(['a', 'b', 'c', 'd', 'e']);
  });

  it('shows nothing of a put whose source fails, and keeps what was there', async () => {
    const fault = new Error('the client hung up');
    async function* failing() {
      yield Buffer.alloc(MIB);
      throw fault;
    }
    await store().put('there', Buffer.from('before'));
    for (const key of ['there', 'new']) await expect(store().put(key, failing())).rejects.toBe(fault);
    expect(String(await store().get('there'))).toBe('before');
    expect(await keys('')).toEqual(['there']);
  });

  it('shows nothing of a put that is aborted', async () => {
    const parts = [Buffer.alloc(MIB)];
    const source = new Readable({
      read() {
        const part = parts.pop();
        if (part) this.push(part);
        else this.destroy();
      },
    });
    await expect(store().put('new', source)).rejects.toThrow(/premature close/i);
    expect(await store().get('new')).toBeNull();
  });

  it('tells of a source that fails before it is read', async () => {
    const fault = new Error('gone already');
    const source = new Readable({ read() {} });
    const put = store().put('new', source);
    source.destroy(fault);
    await expect(put).rejects.toBe(fault);
    expect(await keys('')).toEqual([]);
  });

  it('shows nothing of a put that is killed, and keeps what was there', async () => {
    await store().put('there', Buffer.from('before'));
    for (const key of ['there', 'new']) {
      const child = fork(
        new URL('../../.build/test/support/blob-put.js', import.meta.url).pathname,
        [JSON.stringify(opened.config), key],
        { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] },
      );
      expect(await once(child, 'message')).toContain('half');
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    expect(String(await store().get('there'))).toBe('before');
    expect(await keys('')).toEqual(['there']);
  });

  it('lets one of many puts at the same time win, whole, and readers see whole ones only', async () => {
    const bodies = Array.from({ length: 6 }, (_, i) => Buffer.alloc(MIB - i * 1000, i));
    const known = new Set(bodies.map(sha256));
    await store().put('a', bodies[0] as Buffer);
    const seen = new Set<string>();
    const look = async () => seen.add(sha256((await store().get('a')) ?? Buffer.of()));
    let writing = true;
    const looking = (async () => {
      while (writing) await look();
    })();
    try {
      for (let round = 0; round < 3; round++)
        await Promise.all(bodies.map((body, i) => store().put('a', i % 2 ? body : streamOf(body))));
    } finally {
      writing = false;
      await looking;
    }
    await look();
    expect([...seen].filter((hash) => !known.has(hash))).toEqual([]);
    expect(await keys('')).toEqual(['a']);
  });

  it.each(HOSTILE.map((key) => [key]))('refuses the key %j', async (key) => {
    for (const call of [
      store().put(key, Buffer.of(1)),
      store().get(key),
      store().open(key),
      store().delete(key),
    ])
      await expect(call).rejects.toThrow(/is not a key of a blob/);
  });

  it.each(['a,b', '..\\', 'a b', '*'])('refuses the prefix %j', async (prefix) => {
    await expect(listed(prefix)).rejects.toThrow(/is not a prefix/);
  });
});

it('takes no key that is a path to somewhere else', () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom('.', '/', 'a', ',', '\\', '%', '-') }), (text) => {
      if (!isBlobKey(text)) return;
      expect(new URL(`http://h/${text}`).pathname).toBe(`/${text}`);
      expect(text.split('/')).not.toContain('');
      expect(text).not.toMatch(/\.\.|,|\\|^\//);
    }),
    { numRuns: 2000 },
  );
});
