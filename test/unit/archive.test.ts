/** Archives as people and tools make them, and as attackers do. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, expect, it } from 'vitest';
import { SluiceError } from '../../shared/contract/errors.js';
import { receiveFiles } from '../../shared/core/models/received-files.js';
import { type ZipEntry, zip } from '../support/zip.js';

const MAX_BYTES = 1024 * 1024;
const parent = mkdtempSync(join(tmpdir(), 'sluice-archive-'));
afterAll(() => rmSync(parent, { recursive: true, force: true }));

async function* chunks(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 1000) yield bytes.subarray(at, at + 1000);
}

/** Resolves to the files by their paths, and to the faults. */
async function take(archive: Uint8Array, maxBytes = MAX_BYTES) {
  const folder = mkdtempSync(join(parent, 'take-'));
  const files = receiveFiles(folder);
  await files.unpack(chunks(archive), maxBytes).catch((error: unknown) => {
    if (!(error instanceof SluiceError)) throw error;
    throw new Error(`${error.code}: ${error.message}`);
  });
  const { root, received, faults } = files.content();
  const texts = [...received.keys()].map((path) => [path, readFileSync(join(folder, root, path), 'utf8')]);
  return { files: Object.fromEntries(texts), faults };
}

const model: ZipEntry = { path: 'model.json', content: '{}' };
const bad = (entry: Partial<ZipEntry>) => take(zip([model, { path: 'x', content: 'x', ...entry }]));

it('a zip file is taken, without what macOS and others add, and without the folder around it', async () => {
  const entries = [
    'model.json',
    'sub/weights.bin',
    '.DS_Store',
    '._model.json',
    '.git/HEAD',
    'README.md',
  ].map((path) => ({ path: `export/1/${path}`, content: path }));
  const taken = await take(
    zip([
      { path: 'export/', content: '' },
      ...entries,
      { path: '__MACOSX/export/1/._model.json', content: 'x' },
    ]),
  );
  const files = {
    'README.md': 'README.md',
    'model.json': 'model.json',
    'sub/weights.bin': 'sub/weights.bin',
  };
  expect(taken).toEqual({ files, faults: [] });
});

it('a zip file may have backslashes, 64-bit sizes and names in any script', async () => {
  const { files, faults } = await take(
    zip([
      { path: 'variables\\variables.index', content: 'a' },
      { path: 'größe (1).bin', content: 'b', zip64: true },
      model,
    ]),
  );
  expect(faults).toEqual([]);
  expect(files).toEqual({ 'model.json': '{}', 'größe (1).bin': 'b', 'variables/variables.index': 'a' });
});

it.each<[string, Partial<ZipEntry>, string, RegExp]>([
  ['a password', { encrypted: true }, '/x', /encrypted/],
  ['another packing', { stated: { method: 12 } }, '/x', /method 12/],
  ['a link', { link: true }, '/x', /link/],
  ['an absolute path', { path: '/etc/x' }, '/~1etc~1x', /inside the folder/],
  ['a drive', { path: 'C:\\x' }, '/C:~1x', /inside the folder/],
  ['a way out', { path: 'a\\..\\..\\x' }, '/a~1..~1..~1x', /inside the folder/],
  ['a file twice', { path: 'model.json' }, '/model.json', /there already/],
  ['a name that no file system takes', { path: 'x'.repeat(256) }, `/${'x'.repeat(256)}`, /inside the folder/],
])('a zip file with %s has that fault, and the others', async (_, entry, path, message) => {
  const other: ZipEntry = { path: 'a:b', content: '' };
  const { faults } = await take(zip([model, { path: 'x', content: 'x', ...entry }, other]));
  expect(faults).toEqual([
    { path, message: expect.stringMatching(message) },
    { path: '/a:b', message: expect.stringContaining('inside the folder') },
  ]);
});

it('a zip file is refused as soon as it claims, or turns out, to hold too much', async () => {
  const content = Buffer.alloc(MAX_BYTES + 1);
  await expect(bad({ content })).rejects.toThrow('body_too_large');
  await expect(bad({ path: '.DS_Store', content })).rejects.toThrow('body_too_large');
  await expect(bad({ content, stated: { sizeBytes: 10 } })).rejects.toThrow('/archive: is no zip file');
  const many = Array.from({ length: 20_001 }, (_, i) => ({ path: `d${i}/`, content: '' }));
  await expect(take(zip(many))).rejects.toThrow('more than 20000 entries');
});

it('a zip file is refused when it is damaged, cut short or empty', async () => {
  await expect(bad({ stated: { crc32: 1 } })).rejects.toThrow('/x: is damaged');
  await expect(take(zip([model]).subarray(0, 40))).rejects.toThrow('/archive: is no zip file');
  await expect(take(zip([]))).rejects.toThrow('/archive: is an empty zip file');
});

it.each([
  ['zstd', [0x28, 0xb5, 0x2f, 0xfd, 0, 0, 0]],
  ['bzip2', [0x42, 0x5a, 0x68, 0x39, 0, 0, 0]],
  ['xz', [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0, 0]],
])('an archive of %s is refused by its name', async (name, bytes) => {
  await expect(take(Uint8Array.from(bytes))).rejects.toThrow(
    `/archive: is packed by ${name}: send a .tar.gz`,
  );
});

it.each(['--format=pax', '--format=gnu', '--format=ustar'])('a tar file of %s is taken', async (format) => {
  const folder = mkdtempSync(join(parent, 'tar-'));
  const long = format === '--format=ustar' ? 'y' : `${'y'.repeat(120)}/${'z'.repeat(200)}`;
  mkdirSync(join(folder, 'top/assets'), { recursive: true });
  mkdirSync(join(folder, `top/${long}`), { recursive: true });
  const content = {
    'model.json': '{}',
    '._model.json': 'x',
    '.DS_Store': 'x',
    [`${long}/w.bin`]: 'w',
    'ä b': 'b',
  };
  for (const [path, text] of Object.entries(content)) writeFileSync(join(folder, 'top', path), text);
  const archive = execFileSync('tar', ['-cz', format, '-C', folder, './top']);
  const files = { 'model.json': '{}', [`${long}/w.bin`]: 'w', 'ä b': 'b' };
  expect(await take(archive)).toEqual({ files, faults: [] });
});

it('a tar file is refused as soon as it claims to hold too much, in what is skipped too', async () => {
  const folder = mkdtempSync(join(parent, 'tar-'));
  const file = await open(join(folder, '.hidden'), 'w');
  await file.truncate(MAX_BYTES + 1);
  await file.close();
  const archive = execFileSync('tar', ['-c', '-C', folder, '.'], { maxBuffer: 4 * MAX_BYTES });
  await expect(take(gzipSync(archive))).rejects.toThrow('body_too_large');
});
