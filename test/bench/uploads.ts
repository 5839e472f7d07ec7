/**
 * `npm run bench:uploads -- [--rounds N] [--out DIR]`
 *
 * Measures how long an uploaded version takes until it is ready: while the worker has nothing to do, while it loads a heavy
 * version, and while it compares backends for that. Rounds take the rows in turn, a ratio is taken within a round.
 */
import { mkdirSync, readdirSync, statSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { systemClock as clock, sleep, toTimestamp } from '../../shared/base/clock.js';
import { loadConfig } from '../../shared/contract/config.js';
import type { VersionView } from '../../shared/contract/models/model-view.js';
import { homeName, isInstalled } from '../../shared/native/tensorflow-library.js';
import { type Stack, startStack } from '../support/stack.js';
import { writeConvolutions, writeDense } from '../support/tiny-models.js';
import { type MadeVersion, uploadVersion } from '../support/uploads.js';
import { median, table } from './figures.js';
import { machineFacts } from './machine.js';
import { onSite, type Site, tell, writeResult } from './site.js';
import { openRedisFor } from './systems.js';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    out: { type: 'string', default: 'test/bench/results' },
  },
});

/** Plain JavaScript takes seconds for one such picture. */
const PICTURE_SIZE = 96;
const { SLUICE_CACHE_DIR } = loadConfig();
const hasTensorflow = isInstalled(SLUICE_CACHE_DIR, 'cpu');
const POLL_MS = 10;
const WITHIN_MS = 120_000;
const ROWS = {
  idle: 'a small layers model, beside nothing',
  savedModel: 'a SavedModel of Keras (MNIST), beside nothing',
  heavy: `convolutions on ${PICTURE_SIZE} × ${PICTURE_SIZE} pixels, beside nothing`,
  loading: 'a small layers model, while the convolutions are loaded and checked',
  compared: 'a small layers model, while backends are compared for the convolutions',
} as const;
type Row = keyof typeof ROWS;
/** Milliseconds until the version of each row was ready; null where the machine has no TensorFlow. */
type Round = Record<Row, number | null>;

await onSite(measureAndReport);

async function measureAndReport(site: Site): Promise<void> {
  const server = await openRedisFor(site, 'uploads');
  const env = { SLUICE_BACKEND: 'auto', SLUICE_CACHE_DIR: cacheWithTensorflow(site) };
  const stack = await startStack(server.url, env);
  site.defer(() => stack.close());
  await stack.ready();
  const uploads = openUploads(stack, site.signal);
  const small = writeDense(site.folder);
  const heavy = writeConvolutions(site.folder, PICTURE_SIZE);
  const savedModel = savedModelOf('test/fixtures/models/mnist-cnn/1');

  const rounds: Round[] = [];
  for (let round = 1; round <= Number(values.rounds); round++) {
    tell(`Round ${round} of ${values.rounds} …`);
    // Other files, or the backend of the round before is taken at once.
    const change = ' '.repeat(round);
    const idle = await uploads.timeToReady(small, change);
    const saved = hasTensorflow ? await uploads.timeToReady(savedModel) : null;
    const loading = uploads.begin(heavy, change);
    await uploads.until(loading.name, ({ state }) => state === 'loading');
    const whileLoading = await uploads.timeToReady(small, change);
    const heavyMs = await loading.readyMs;
    const whileCompared = await uploads.timeToReady(small, change);
    await uploads.until(loading.name, ({ metrics }) => Boolean(metrics?.comparison));
    rounds.push({ idle, savedModel: saved, heavy: heavyMs, loading: whileLoading, compared: whileCompared });
  }
  publish(rounds, machineFacts(site.program.origin));
}

/** The worker keeps its choices of backends in a cache of its own; the library is the one that is installed. */
function cacheWithTensorflow({ folder }: Site): string {
  const cache = join(folder, 'cache');
  mkdirSync(cache);
  if (hasTensorflow) symlinkSync(join(SLUICE_CACHE_DIR, homeName('cpu')), join(cache, homeName('cpu')));
  return cache;
}

function savedModelOf(folder: string): MadeVersion {
  const paths = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  const files = paths.filter((path) => statSync(join(folder, path)).isFile() && path !== 'model.yaml');
  return {
    folder,
    manifest: { format: 'saved_model', files: Object.fromEntries(files.map((path) => [path, ''])) },
  };
}

function openUploads(stack: Stack, signal: AbortSignal) {
  let count = 0;

  async function until(name: string, isSo: (view: VersionView) => boolean): Promise<void> {
    const startedMs = clock.monotonic();
    for (;;) {
      const { body } = await stack.request('GET', `/v1/models/${name}/versions/1`);
      if (isSo(body)) return;
      if (body.state === 'failed') throw new Error(`${name} failed: ${JSON.stringify(body.error)}`);
      if (clock.monotonic() - startedMs > WITHIN_MS) throw new Error(`${name} is still ${body.state}`);
      await sleep(clock, POLL_MS, signal);
      signal.throwIfAborted();
    }
  }

  /** Uploads a version under a name of its own. */
  function begin(made: MadeVersion, change = '') {
    const name = `upload-${++count}`;
    const uploaded = uploadVersion(stack, name, made, { change });
    const startedMs = clock.monotonic();
    const readyMs = uploaded.then(async ({ status, body }) => {
      if (status !== 202) throw new Error(`${name} is refused: ${JSON.stringify(body)}`);
      await until(name, ({ state }) => state === 'ready');
      return clock.monotonic() - startedMs;
    });
    return { name, readyMs };
  }

  return { until, begin, timeToReady: (made: MadeVersion, change?: string) => begin(made, change).readyMs };
}

function publish(rounds: readonly Round[], machine: Record<string, string | number>): void {
  const date = toTimestamp(clock.now());
  const rowOf = (row: Row): string[] => {
    const measured = rounds.flatMap((round) => round[row] ?? []);
    if (measured.length === 0) return [ROWS[row], 'no TensorFlow here', '', ''];
    const ratios = rounds.map((round) => (round[row] ?? 0) / (round.idle ?? 1));
    return [
      ROWS[row],
      (median(measured) / 1000).toFixed(2),
      (Math.max(...measured) / 1000).toFixed(2),
      `${median(ratios).toFixed(2)} ×`,
    ];
  };
  const text = [
    '# How long an upload takes until it is ready',
    '',
    `${date}; ${Object.entries(machine)
      .map(([name, value]) => `${name} ${value}`)
      .join(', ')}.`,
    `${rounds.length} rounds on one worker with \`SLUICE_BACKEND=auto\`, from the first byte of the upload until the version is \`ready\`.`,
    '',
    ...table(['upload', 'median s', 'most s', 'beside nothing'], (Object.keys(ROWS) as Row[]).map(rowOf)),
    '',
  ].join('\n');
  writeResult(values.out, 'uploads-', date, 'md', text);
  console.log(text);
}
