/**
 * `npm run bench:json -- [--rounds N] [--seconds S] [--out DIR]`
 *
 * Measures what the body of a submit costs until its input is packed: JSON.parse and a copy alone, the reader of numbers and a
 * copy alone, and the whole way with and without the reader; and what predictions cost until they are JSON. Rounds take all of
 * them in turn, a ratio is taken within a round.
 */
import { parseArgs } from 'node:util';
import { systemClock as clock, toTimestamp } from '../../shared/base/clock.js';
import { parseJson } from '../../shared/contract/json/json.js';
import { type NumberGrid, readGrid } from '../../shared/contract/json/number-grid.js';
import { NumberReader } from '../../shared/contract/json/number-reader.js';
import { parseSubmit } from '../../shared/contract/json/submit-json.js';
import type { Manifest } from '../../shared/contract/models/manifest.js';
import { toBytes } from '../../shared/contract/tensors/elements.js';
import { createInputEncoder } from '../../shared/contract/tensors/input.js';
import { presentPredictions } from '../../shared/contract/tensors/prediction.js';
import { packInstances } from '../../shared/contract/tensors/tensor.js';
import { readImageHeader } from '../../shared/images/image.js';
import { median, table } from './figures.js';
import { machineFacts } from './machine.js';
import { tell, writeResult } from './site.js';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '7' },
    seconds: { type: 'string', default: '0.2' },
    out: { type: 'string', default: 'test/bench/results' },
  },
});

const PIXELS = 784;
const SIDE = 28;
const MAX_DEPTH = 8;

/** How the numbers of a body are written. */
const NUMBERS: Record<string, (share: number) => number> = {
  '17 digits': (share) => Math.fround(share),
  'an exponent': (share) => share * 1e-7,
  'a shade of 255': (share) => Math.floor(share * 256) / 255,
  '6 digits': (share) => Number(share.toFixed(6)),
  '0 to 255': (share) => Math.floor(share * 256),
};
/** How they are nested, and how often the body has them. */
const FORMS: Record<string, { rows: number; nest(row: readonly number[]): unknown }> = {
  '1 × 784': { rows: 1, nest: (row) => row },
  '10 × 784': { rows: 10, nest: (row) => row },
  '1 × 28 × 28 × 1': {
    rows: 1,
    nest: (row) =>
      Array.from({ length: SIDE }, (_, y) => row.slice(y * SIDE, (y + 1) * SIDE).map((pixel) => [pixel])),
  },
};

/** The shapes of predictions: a picture as a row, a picture, and the boxes of a detector. */
const SHAPES = [[PIXELS], [SIDE, SIDE, 1], [100, 7, 4]];
/** Enough that no cache of the texts of numbers helps. */
const OUTPUTS = 50;

type Id = 'parse' | 'read' | 'without' | 'with' | 'present' | 'stringify' | 'join';

interface Row {
  id: Id;
  detail: string;
  unit: 'µs';
  /** One a round. */
  samples: number[];
}

interface Subject {
  row: Row;
  act(): unknown;
}

interface Body {
  detail: string;
  bytes: number;
  subjects: Subject[];
}

interface Output {
  detail: string;
  subjects: Subject[];
}

const encoder = createInputEncoder(manifest(), readImageHeader);
const bodies = Object.keys(FORMS).flatMap((form) =>
  Object.keys(NUMBERS).map((numbers) => bodyOf(form, numbers)),
);
const outputs = SHAPES.map(outputOf);
const subjects = [...bodies, ...outputs].flatMap((each) => each.subjects);
for (const { act } of subjects) await perCall(act);
for (let round = 1; round <= Number(values.rounds); round++) {
  tell(`Round ${round} of ${values.rounds} …`);
  for (const { row, act } of subjects) row.samples.push(await perCall(act));
}
publish();

function bodyOf(form: string, numbers: string): Body {
  const { rows, nest } = FORMS[form] as (typeof FORMS)[string];
  const make = NUMBERS[numbers] as (typeof NUMBERS)[string];
  const instances = Array.from({ length: rows }, () =>
    nest(Array.from({ length: PIXELS }, () => make(Math.random()))),
  );
  const list = Buffer.from(JSON.stringify(instances));
  const bytes = Buffer.from(`{"model":"m","instances":${list}}`);
  const detail = `${form}, ${numbers}`;
  return {
    detail,
    bytes: bytes.length,
    subjects: [
      subject(detail, 'parse', () => copyAll(JSON.parse(list.toString()), rows)),
      subject(
        detail,
        'read',
        () => new Float32Array((readGrid(new NumberReader(list), MAX_DEPTH) as NumberGrid).numbers),
      ),
      subject(detail, 'without', () => pack(parseJson(bytes, MAX_DEPTH, 'The body'))),
      subject(detail, 'with', () => pack(parseSubmit(bytes, MAX_DEPTH, 'The body').value)),
    ],
  };
}

function outputOf(shape: readonly number[]): Output {
  const length = shape.reduce((product, size) => product * size, 1);
  const values = Array.from({ length: OUTPUTS }, () => Float32Array.from({ length }, () => Math.random()));
  const packed = values.map((numbers) =>
    packInstances([{ y: { dtype: 'float32', shape, data: toBytes(numbers) } }]),
  );
  const presented = packed.map(presentPredictions);
  const detail = shape.join(' × ');
  let turn = 0;
  const next = <T>(list: readonly T[]) => list[turn++ % OUTPUTS] as T;
  return {
    detail,
    subjects: [
      subject(detail, 'present', () => presentPredictions(next(packed))),
      subject(detail, 'stringify', () => JSON.stringify(next(presented))),
      subject(detail, 'join', () => `[[${next(values).join()}]]`),
    ],
  };
}

function subject(detail: string, id: Id, act: () => unknown): Subject {
  return { row: { id, detail, unit: 'µs', samples: [] }, act };
}

/** Copies what JSON.parse made in the fewest steps. */
function copyAll(nested: unknown[], rows: number): Float32Array {
  const copied = new Float32Array(rows * PIXELS);
  let at = 0;
  const copy = (items: unknown[]): void => {
    if (typeof items[0] === 'number')
      for (let i = 0; i < items.length; i++) copied[at++] = items[i] as number;
    else for (const item of items) copy(item as unknown[]);
  };
  copy(nested);
  return copied;
}

async function pack(body: unknown): Promise<Buffer> {
  return packInstances(await encoder.encode((body as { instances: unknown[] }).instances));
}

/** Resolves to the microseconds of processor time that one call takes, collecting garbage included. */
async function perCall(act: () => unknown): Promise<number> {
  const before = process.cpuUsage();
  const until = performance.now() + Number(values.seconds) * 1000;
  let calls = 0;
  for (; performance.now() < until; calls++) await act();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / calls;
}

function manifest(): Manifest {
  const nested = { shape: [SIDE, SIDE, 1], accepts: [[PIXELS]] };
  return {
    name: 'm',
    version: 1,
    format: 'layers',
    signature: {
      inputs: [{ name: 'x', dtype: 'float32', ...nested }],
      outputs: [{ name: 'y', dtype: 'float32', shape: [1] }],
    },
    batching: { maxBatchSize: 32, maxDelayMs: 1 },
    files: {},
  };
}

function publish(): void {
  const date = toTimestamp(clock.now());
  const machine = machineFacts(null);
  const rows = subjects.map(({ row }) => row);
  const text = [
    '# What the numbers of submits and predictions cost',
    '',
    `${date}; ${Object.entries(machine)
      .map(([name, value]) => `${name} ${value}`)
      .join(', ')}.`,
    `Microseconds of processor time for each, medians of ${values.rounds} rounds; ratios within a round.`,
    'Parse: JSON.parse and a copy to float32. Read: the reader of numbers and a copy. Without and with the reader: from the bytes of the body to',
    'the packed input, with every check of both.',
    '',
    ...table(
      ['body', 'bytes', 'parse µs', 'read µs', 'parse ÷ read', 'without µs', 'with µs', 'without ÷ with'],
      bodies.map(({ detail, bytes, subjects: [parse, read, without, reading] }) => [
        detail,
        String(bytes),
        ...compared(parse?.row, read?.row),
        ...compared(without?.row, reading?.row),
      ]),
    ),
    '',
    'Predictions: present makes nested arrays of the packed output, stringify is JSON.stringify of them, join is the text of the numbers alone,',
    'without their nesting.',
    '',
    ...table(
      ['predictions', 'present µs', 'join µs', 'stringify µs', 'join ÷ stringify'],
      outputs.map(({ detail, subjects: [present, stringify, join] }) => [
        detail,
        median(present?.row.samples ?? []).toFixed(1),
        ...compared(join?.row, stringify?.row),
      ]),
    ),
    '',
  ].join('\n');
  writeResult(values.out, 'json-', date, 'md', text);
  writeResult(values.out, 'json-', date, 'json', `${JSON.stringify({ date, machine, rows }, null, 2)}\n`);
  console.log(text);
}

/** Returns both medians, and how many times the first is the second. */
function compared(above: Row | undefined, below: Row | undefined): string[] {
  const [first = [], second = []] = [above?.samples, below?.samples];
  const ratios = first.map((sample, round) => sample / (second[round] ?? Number.NaN));
  return [median(first).toFixed(1), median(second).toFixed(1), `${median(ratios).toFixed(2)} ×`];
}
