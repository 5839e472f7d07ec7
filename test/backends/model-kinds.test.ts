/**
 * The table of models that are served or refused: each kind is checked as an upload is, then loaded and warmed up on every
 * backend. `npx vitest run --project backends model-kinds -u` writes the table anew.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { systemClock } from '../../shared/base/clock.js';
import { hashFile, pathsIn } from '../../shared/base/disk.js';
import { messageOf } from '../../shared/base/errors.js';
import type { StoredBlob } from '../../shared/blobs/blobs.js';
import { loadConfig } from '../../shared/contract/config.js';
import { SluiceError } from '../../shared/contract/errors.js';
import type { Manifest } from '../../shared/contract/models/manifest.js';
import { readUploadedManifest } from '../../shared/core/models/uploaded-manifest.js';
import { type BackendName, canRun } from '../../worker/backends/backend.js';
import { chooseBackend } from '../../worker/backends/choose.js';
import { createLoadedVersions } from '../../worker/inference/child/loaded-versions.js';
import { LOCAL_BACKENDS } from '../support/local-backends.js';
import { MODEL_KINDS, type ModelKind } from '../support/model-kinds.js';
import { ROOT } from '../support/stack.js';

const PAGE = join(ROOT, 'deploy/guides/which-models.md');
/** The table is that of a machine without a GPU. */
const BACKENDS: readonly BackendName[] = ['wasm', 'cpu', 'native', 'onnx'];
const MOST_SHOWN = 80;
const missing = LOCAL_BACKENDS.filter(({ name, fault }) => fault && BACKENDS.includes(name));
if (missing.length > 0)
  console.warn(
    `\n!!! SKIPPED: the table of models. ${missing.map(({ name, fault }) => `${name}: ${fault}`).join('; ')}\n`,
  );

const root = mkdtempSync(join(tmpdir(), 'sluice-kinds-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** Returns what its owner is told of the kind: who serves it, or why nobody does. */
async function answerTo(kind: ModelKind, index: number): Promise<string> {
  const folder = join(root, String(index));
  mkdirSync(folder);
  kind.write(folder);
  if (kind.yaml) writeFileSync(join(folder, 'model.yaml'), kind.yaml);
  const files = new Map<string, StoredBlob>();
  for (const path of await pathsIn(folder)) {
    const sha256 = await hashFile(join(folder, path));
    files.set(path, { sha256, sizeBytes: statSync(join(folder, path)).size });
  }
  try {
    const upload = { name: 'm', next: index + 1, folder, files, faults: [] };
    return await serversOf(folder, await readUploadedManifest(upload));
  } catch (error) {
    const faults = error instanceof SluiceError ? error.faults : [];
    const [first = { path: '', message: messageOf(error) }] = faults;
    return `refused: ${first.path && `\`${first.path}\` `}${first.message}`;
  }
}

async function serversOf(folder: string, manifest: Manifest): Promise<string> {
  const serving: string[] = [];
  for (const name of BACKENDS.filter((each) => canRun(each, manifest.format))) {
    const { backend } = await chooseBackend(name, loadConfig().SLUICE_CACHE_DIR);
    const versions = createLoadedVersions(backend, systemClock);
    const report = await versions.load(folder, manifest).catch(() => null);
    if (!report) continue;
    serving.push(report.isolatedSignatures.length > 0 ? `${name}, jobs apart` : name);
    versions.unload(manifest.name, manifest.version);
  }
  expect(serving, `${folder} is let through, and no backend serves it`).not.toEqual([]);
  return `served: ${serving.join(', ')}`;
}

/** Pads the cells as the check of the sources wants them. */
function formatted(page: string): string {
  const args = ['format', '--stdin-file-path=page.md'];
  return execFileSync(join(ROOT, 'node_modules/.bin/biome'), args, {
    cwd: ROOT,
    input: page,
    encoding: 'utf8',
  });
}

function shown(yaml: string | undefined): string {
  if (!yaml) return 'none';
  return `\`${yaml.length > MOST_SHOWN ? `${yaml.slice(0, yaml.indexOf(':'))}: …` : yaml}\``;
}

it.skipIf(missing.length > 0)(
  'says of each kind of model what becomes of it',
  async () => {
    const rows: string[] = [];
    for (const [index, kind] of MODEL_KINDS.entries()) {
      const answer = (await answerTo(kind, index)).replaceAll('|', '\\|').replaceAll('\n', ' ');
      rows.push(`| ${kind.kind} | ${kind.source} | ${shown(kind.yaml)} | ${answer} |`);
    }
    await expect(formatted(`${HEAD}${rows.join('\n')}\n`)).toMatchFileSnapshot(PAGE);
  },
  120_000,
);

const HEAD = `# Which models are served

\`test/backends/model-kinds.test.ts\` writes this table from models that it loads and runs; do not edit it. Each row is one example of its
kind, with the first thing that its owner is told. A SavedModel needs the backend \`native\` or \`cuda\`, an ONNX file the backend \`onnx\`.

| model | written by | \`model.yaml\` | answer |
| --- | --- | --- | --- |
`;
