/**
 * The walls of the house: who may import whom, no cycles, small files and folders, one place for the environment and for
 * time, the OpenAPI document equal to the routes.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { expect, it } from 'vitest';
import { VERSION } from '../shared/base/version.js';

const ROOT = new URL('../', import.meta.url).pathname;

const FLOOR_2 = ['redis', 'queue', 'blobs', 'model-packages', 'native', 'images', 'audio'].map(
  (room) => `shared/${room}`,
);
const GROUND = ['shared/base', 'shared/contract'];

/** Rooms from the ground up, and whom each may import besides itself. A room inside another has its own line first. */
const MAY_IMPORT: Record<string, string[]> = {
  'shared/base': [],
  'shared/contract': ['shared/base'],
  // Adapters and readers: none knows another.
  ...Object.fromEntries(FLOOR_2.map((room) => [room, GROUND])),
  'shared/core': [...GROUND, ...FLOOR_2],
  'shared/client': GROUND,
  // A supervised process and the backends know nothing of inference, so that other roles may use them.
  'worker/process': GROUND,
  'worker/devices': [...GROUND, 'shared/native'],
  'worker/backends': [...GROUND, 'shared/native', 'shared/model-packages', 'worker/devices'],
  worker: [...GROUND, ...FLOOR_2, 'shared/core', 'worker/process', 'worker/devices', 'worker/backends'],
  'api/http': [...GROUND, ...FLOOR_2, 'shared/core'],
  'api/auth': [...GROUND, 'shared/core', 'api/http'],
  'api/follow': [...GROUND, ...FLOOR_2, 'shared/core', 'api/http'],
  'api/cli': [...GROUND, 'shared/client'],
  'api/routes': [...GROUND, ...FLOOR_2, 'shared/core', 'api/auth', 'api/http', 'api/follow'],
  'api/openapi': [...GROUND, 'api/http', 'api/routes'],
  api: [
    ...GROUND,
    ...FLOOR_2,
    'shared/core',
    'api/auth',
    'api/http',
    'api/follow',
    'api/routes',
    'api/openapi',
  ],
  // deploy/native fills the folder that shared/native describes, and writes the numbers that model-packages reads by.
  deploy: [...GROUND, 'shared/native', 'shared/model-packages'],
};

const files = ['api', 'worker', 'shared', 'deploy'].flatMap((folder) =>
  readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => join(folder, name)),
);
const text = (file: string) => readFileSync(join(ROOT, file), 'utf8');

function importsOf(file: string): string[] {
  return [...text(file).matchAll(/(?:from|import\()\s*'(\.[^']+)\.js'/g)].map(([, path]) =>
    normalize(join(dirname(file), `${path}.ts`)),
  );
}

function roomOf(file: string): string {
  return Object.keys(MAY_IMPORT).find((room) => file.startsWith(`${room}/`)) ?? 'nowhere';
}

it('has files in every room', () => {
  expect(new Set(files.map(roomOf))).toEqual(new Set(Object.keys(MAY_IMPORT)));
});

it.each(files)('%s imports only what lies below', (file) => {
  for (const imported of importsOf(file))
    expect([roomOf(file), ...(MAY_IMPORT[roomOf(file)] ?? [])], `imports ${imported}`).toContain(
      roomOf(imported),
    );
});

it('has no import cycles', () => {
  const done = new Set<string>();
  const visit = (file: string, path: string[]): void => {
    expect(path, `cycle: ${[...path, file].join(' -> ')}`).not.toContain(file);
    if (done.has(file)) return;
    for (const imported of importsOf(file)) visit(imported, [...path, file]);
    done.add(file);
  };
  for (const file of files) visit(file, []);
});

it('keeps files to 300 lines and folders to 16 files', () => {
  const long = files.filter((file) => text(file).trimEnd().split('\n').length > 300);
  expect(long).toEqual([]);
  const full = [...new Set(files.map(dirname))].filter(
    (folder) => files.filter((file) => dirname(file) === folder).length > 16,
  );
  expect(full).toEqual([]);
});

it('reads the environment and the clock in one file each', () => {
  const using = (pattern: RegExp) => files.filter((file) => pattern.test(text(file)));
  expect(using(/process\.env/)).toEqual(['shared/base/config.ts']);
  expect(
    using(/Date\.now\(|setTimeout\(|setInterval\(/).filter((file) => !file.startsWith('deploy/')),
  ).toEqual(['shared/base/clock.ts']);
});

it('loads each backend package in one file only', () => {
  for (const name of ['@tensorflow/tfjs-backend-wasm', '@tensorflow/tfjs-backend-cpu']) {
    const using = files.filter((file) => file.startsWith('worker/') && text(file).includes(`'${name}'`));
    expect(
      using.map((file) => relative('worker/backends', file)),
      name,
    ).toHaveLength(1);
  }
});

it('loads the AWS SDK in one file only, and that file only where a bucket is configured', () => {
  const using = (pattern: RegExp) => files.filter((file) => pattern.test(text(file)));
  expect(using(/'@aws-sdk\//)).toEqual(['shared/blobs/s3.ts']);
  expect(using(/s3\.js'/)).toEqual(['shared/blobs/open.ts']);
  expect(using(/from '\.\/s3\.js'/)).toEqual([]);
});

it('writes Lua in files of its own', () => {
  expect(files.filter((file) => /redis\.call\(/.test(text(file)))).toEqual([]);
});

it('describes the routes of every room in the OpenAPI document', () => {
  const inRoutes = files
    .filter((file) => file.startsWith('api/routes/'))
    .flatMap((file) => [...text(file).matchAll(/^export const (\w+Operations)\b/gm)].map(([, name]) => name));
  const inDocument = [...text('api/openapi/document.ts').matchAll(/^ {2}\.\.\.(\w+Operations),/gm)];
  expect(inDocument.map(([, name]) => name).sort()).toEqual(inRoutes.sort());
});

it('gives every exported name one meaning', () => {
  const filesByName = new Map<string, string[]>();
  for (const file of files) {
    const exported = text(file).matchAll(
      /^export (?:abstract |async )*(?:const|function|class|interface|type)\*? (\w+)/gm,
    );
    for (const name of new Set([...exported].map(([, name = '']) => name)))
      filesByName.set(name, [...(filesByName.get(name) ?? []), file]);
  }
  expect([...filesByName].filter(([, places]) => places.length > 1)).toEqual([]);
});

/** The first line of every comment of a file, without the marks of the comment. */
function commentStarts(file: string): string[] {
  const blocks = text(file).matchAll(/^\s*\/\*\*?\s*(?:\n\s*\* ?)?(.*)/gm);
  const lines = text(file).matchAll(/(?<!\/\/.*\n)^\s*\/\/ ?(.*)|[;,{(] +\/\/ +(.*)/gm);
  return [...blocks, ...lines].map(([, first, trailing]) => first ?? trailing ?? '');
}

it.each(files)('%s begins its comments with the subject of a sentence', (file) => {
  const bare = /^(Of|Those|What|Who|Whose|Which|Whom|That|Whoever|Whatever)\b/;
  expect(commentStarts(file).filter((start) => bare.test(start))).toEqual([]);
});

it.each(files)('%s documents every function that it exports', (file) => {
  const bare = text(file).matchAll(/(?<!\*\/\n)^export (?:async )?function\*? (\w+)/gm);
  expect([...bare].map(([, name]) => name)).toEqual([]);
});

it('has one version', () => {
  expect(JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')).version).toBe(VERSION);
});

it('hands no module more than ten dependencies', () => {
  const bag = /^(?:export )?interface (\w+(?:Deps|Connections))\b[^{]*\{\n([\s\S]*?)^\}/gm;
  const field = /^ {2}(?:readonly )?\w+\??[:(]/gm;
  for (const file of files)
    for (const [, name, body = ''] of text(file).matchAll(bag))
      expect(body.match(field)?.length ?? 0, `fields of ${name} in ${file}`).toBeLessThanOrEqual(10);
});

it('runs every test, but for those that say loudly why they are skipped', () => {
  const tests = readdirSync(join(ROOT, 'test'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.test.ts'))
    .map((name) => join('test', name));
  // The words are put together here, so that this file does not find itself.
  const silenced = new RegExp(`\\.(${['only', 'skip', 'todo', 'fails'].join('|')})\\b`);
  const conditional = new RegExp(`\\.(${['skipIf', 'runIf'].join('|')})\\(`);
  for (const file of tests) {
    expect(text(file), file).not.toMatch(silenced);
    if (conditional.test(text(file)))
      expect(text(file), `${file} skips in silence`).toMatch(/SKIPPED|IS_LONG/);
  }
});
