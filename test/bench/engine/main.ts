/**
 * `npm run bench:engine -- [--backends N,N] [--models N,N] [--instances N] [--children N] [--rounds N] [--seconds S] [--out DIR]`
 *
 * Measures what the engine makes of a backend: rows per second of a saturated worker, fed through the queue, beside those of
 * the bare backend in a child of the same kind, at batch 1 and at each model's full batch; and what batching costs a lone job.
 * Rounds take all of them in turn, a ratio is taken within a round.
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Registry } from 'prom-client';
import { systemClock as clock, toTimestamp } from '../../../shared/base/clock.js';
import { list } from '../../../shared/base/config.js';
import { messageOf } from '../../../shared/base/errors.js';
import { createLogger } from '../../../shared/base/log.js';
import { loadConfig } from '../../../shared/contract/config.js';
import { readModelFolder } from '../../../shared/model-packages/model-folder.js';
import { type BackendName, canRun } from '../../../worker/backends/backend.js';
import { createInferenceMetrics } from '../../../worker/inference/metrics.js';
import { type BackendPool, openBackendPool } from '../../../worker/inference/pool/backend-pool.js';
import { median, table } from '../figures.js';
import { type Goal, goalText, verdictOn } from '../goals.js';
import { machineFacts } from '../machine.js';
import { onSite, type Site, tell, writeResult } from '../site.js';
import { writePictureModels } from './pictures.js';
import { type Drained, openStand, type Stand } from './stand.js';

const { values } = parseArgs({
  options: {
    backends: { type: 'string', default: 'cuda,wasm,native,onnx' },
    models: { type: 'string', default: 'mnist,upscale,upscale-pixels,mnist-cnn,mnist-cnn-onnx' },
    instances: { type: 'string', default: '1' },
    children: { type: 'string', default: '1' },
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '3' },
    out: { type: 'string', default: 'test/bench/results' },
  },
});

interface Subject {
  model: string;
  backend: BackendName;
  batchSize: number;
  stand: Stand;
  /** Rows per second of the backend alone, in as many children as the worker has. */
  bare(): Promise<number>;
  /** The same in one child, with all cores. */
  bareAlone(): Promise<number>;
  samples: Sample[];
}

interface Sample extends Drained {
  bare: number;
  bareAlone: number;
  loneMs: number;
}

/** P8: what a worker makes of its backend. */
const P8: Goal = { least: 0.97 };
const CHILDREN = Number(values.children);
const PROBES = 40;
const MOST_ROWS = 20_000 * Number(values.instances);
const FIXTURES = 'test/fixtures/models';
const refused: string[] = [];

await onSite(measureAndReport);

async function measureAndReport(site: Site): Promise<void> {
  const subjects: Subject[] = [];
  for (const backend of list(values.backends) as BackendName[])
    subjects.push(...(await openAll(site, backend)));
  for (let round = 1; round <= Number(values.rounds); round++) {
    tell(`Round ${round} of ${values.rounds} …`);
    for (const subject of subjects) subject.samples.push(await measure(subject));
  }
  publish(subjects, machineFacts(site.program.origin));
}

/** Batch 1 and the full batch of each model on a backend. */
async function openAll(site: Site, backend: BackendName): Promise<Subject[]> {
  const { SLUICE_CACHE_DIR: librariesDir, SLUICE_MODELS_DIR: modelsDir } = loadConfig();
  const deps = {
    child: new URL('../../../worker/inference/child/main.js', import.meta.url),
    options: { librariesDir, logLevel: 'warn' },
    clock,
    log: createLogger('bench', 'warn'),
    metrics: createInferenceMetrics(new Registry()),
  };
  const pool = await openBackendPool({ ...deps, childCount: CHILDREN }, backend).catch(
    (error) => void refused.push(messageOf(error)),
  );
  if (!pool) return [];
  site.defer(() => pool.close());
  const alone = CHILDREN === 1 ? pool : await openBackendPool({ ...deps, childCount: 1 }, backend);
  if (alone !== pool) site.defer(() => alone.close());
  const subjects: Subject[] = [];
  for (const { manifest, path } of await modelsFor(site, backend, modelsDir)) {
    for (const each of new Set([pool, alone])) await each.load(path, manifest);
    for (const batchSize of [1, manifest.batching.maxBatchSize]) {
      tell(`Starting ${manifest.name} on ${backend} in batches of ${batchSize} …`);
      const speedOn = (on: BackendPool) => async () =>
        (await on.measure(manifest, { batchSize, budgetMs: Number(values.seconds) * 1000, leastRuns: 3 }))
          ?.rowsPerSecond ?? Number.NaN;
      const stand = await openStand(site, {
        model: manifest.name,
        backend,
        batchSize,
        modelsDir: join(path, '../..'),
        instances: Number(values.instances),
        children: CHILDREN,
      });
      subjects.push({
        model: manifest.name,
        backend,
        batchSize,
        stand,
        bare: speedOn(pool),
        bareAlone: speedOn(alone),
        samples: [],
      });
    }
  }
  return subjects;
}

/** Each name once: what is made for the bench comes before what is bundled. */
async function modelsFor(site: Site, backend: BackendName, modelsDir: string) {
  const made = await writePictureModels(join(site.folder, 'models'), modelsDir);
  const folders = await Promise.all([FIXTURES, modelsDir, made].map(readModelFolder));
  const byName = new Map(
    folders.flatMap(({ versions }) => versions).map((each) => [each.manifest.name, each]),
  );
  return [...byName.values()].filter(
    ({ manifest: { name, format } }) => list(values.models).includes(name) && canRun(backend, format),
  );
}

async function measure({ stand, bare, bareAlone }: Subject): Promise<Sample> {
  const rows = await bare();
  const alone = CHILDREN === 1 ? rows : await bareAlone();
  const drained = await stand.drain(Math.min(Math.ceil(rows * Number(values.seconds)), MOST_ROWS));
  return { bare: rows, bareAlone: alone, ...drained, loneMs: median(await stand.probe(PROBES)) };
}

function publish(subjects: readonly Subject[], machine: Record<string, string | number>): void {
  const date = toTimestamp(clock.now());
  const over = (subject: Subject, figure: (sample: Sample, round: number) => number) =>
    median(subject.samples.map(figure));
  const single = (of: Subject) =>
    subjects.find((each) => each.model === of.model && each.backend === of.backend && each.batchSize === 1);
  const rowOf = (subject: Subject) => {
    const one = single(subject)?.samples ?? [];
    const ofBare = over(subject, ({ perSecond, bare }) => perSecond / bare);
    const gains = subject.batchSize > 1;
    return [
      subject.model,
      subject.backend,
      String(subject.batchSize),
      speed(over(subject, ({ bare }) => bare)),
      speed(over(subject, ({ perSecond }) => perSecond)),
      `${ofBare.toFixed(2)} ×`,
      verdictOn(P8, ofBare),
      ...(CHILDREN > 1
        ? [`${over(subject, ({ perSecond, bareAlone }) => perSecond / bareAlone).toFixed(2)} ×`]
        : []),
      `${(100 * over(subject, ({ computing }) => computing)).toFixed(0)} %`,
      `${over(subject, ({ perSecond, computing, bare }) => perSecond / computing / bare).toFixed(2)} ×`,
      over(subject, ({ meanBatch }) => meanBatch).toFixed(1),
      gains ? `${over(subject, ({ bare }, i) => bare / (one[i]?.bare ?? bare)).toFixed(2)} ×` : '',
      gains
        ? `${over(subject, ({ perSecond }, i) => perSecond / (one[i]?.perSecond ?? perSecond)).toFixed(2)} ×`
        : '',
      gains ? `${over(subject, ({ loneMs }, i) => loneMs - (one[i]?.loneMs ?? loneMs)).toFixed(2)} ms` : '',
    ];
  };
  const titles = [
    'model',
    'backend',
    'batch',
    'bare rows/s',
    'engine rows/s',
    'engine ÷ bare',
    `P8: ${goalText(P8)}`,
    ...(CHILDREN > 1 ? ['engine ÷ one bare child'] : []),
    'computing',
    'computing ÷ bare',
    'mean batch',
    'bare gains',
    'engine gains',
    'added to a lone job',
  ];
  const text = [
    '# What the engine makes of a backend',
    '',
    `${date}; ${Object.entries(machine)
      .map(([name, value]) => `${name} ${value}`)
      .join(', ')}.`,
    `Medians of ${values.rounds} rounds; ratios within a round. Engine: one worker with ${values.children} child(ren) of a backend, jobs of ${values.instances} instance(s) that wait in its queue, no HTTP.`,
    'Bare: the backend alone, in as many children, on batches that are ready, without decoding and encoding of pictures. Gains: over batch 1.',
    'Computing: share of the time in which the backend ran, of each child; beside it how fast it then was, sharing the machine with queue and pictures.',
    'The product of the two is the ratio. `upscale` enlarges a picture of 96 x 64; `upscale-pixels` is the network of `upscale` from tensor to tensor.',
    ...refused.map((reason) => `\nNot measured: ${reason}`),
    '',
    ...table(titles, subjects.map(rowOf)),
    '',
  ].join('\n');
  writeResult(values.out, 'engine-', date, 'md', text);
  console.log(text);
}

function speed(perSecond: number): string {
  return perSecond.toFixed(perSecond < 100 ? 1 : 0);
}
