/** Graphs of tfjs whose results have any size, and graphs with loops and branches: as detectors and old exports have them. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../../shared/contract/config.js';
import type { Backend, LoadedModel } from '../../worker/backends/backend.js';
import { chooseBackend } from '../../worker/backends/choose.js';
import { TFJS_BACKENDS } from '../support/local-backends.js';
import { type TinyModel, type Weight, writeModel } from '../support/tiny-models.js';

const { SLUICE_CACHE_DIR } = loadConfig();
const parent = mkdtempSync(join(tmpdir(), 'sluice-dynamic-'));
afterAll(() => rmSync(parent, { recursive: true, force: true }));

type Node = { name: string; op: string; input?: string[]; attr?: object };
const node = (name: string, op: string, input: string[], attr: object = {}): Node => ({
  name,
  op,
  input,
  attr,
});
const float = { type: 'DT_FLOAT' };
const number = (name: string, value: number, dtype: Weight['dtype'] = 'float32'): Weight => ({
  name,
  shape: [],
  dtype,
  values: [value],
});
const constant = ({ name, dtype, shape }: Weight): Node => ({
  name,
  op: 'Const',
  attr: {
    dtype: { type: dtype === 'int32' ? 'DT_INT32' : 'DT_FLOAT' },
    value: { tensor: { dtype, tensorShape: { dim: shape.map((size) => ({ size: String(size) })) } } },
  },
});
const input = (name: string, ...sizes: number[]): Node => ({
  name,
  op: 'Placeholder',
  attr: { dtype: float, shape: { shape: { dim: sizes.map((size) => ({ size: String(size) })) } } },
});

/** Writes a model with the one input `x` and the one output `y`, which takes one instance at a time. */
function write(
  name: string,
  shapes: { x: (number | null)[]; y: (number | null)[] },
  nodes: Node[],
  weights: Weight[],
  functions: object[] = [],
): TinyModel {
  return writeModel(parent, {
    name,
    format: 'graph',
    inputs: [{ name: 'x', dtype: 'float32', shape: shapes.x }],
    outputs: [{ name: 'y', dtype: 'float32', shape: shapes.y }],
    topology: {
      node: [...weights.map(constant), ...nodes],
      library: { function: functions },
      versions: { producer: 1 },
    },
    weights,
    maxBatchSize: 1,
  });
}

/** Of five boxes with scores the best that do not overlap, as the object detectors of TensorFlow end. */
const detector = () =>
  write(
    'detector',
    { x: [5, 4], y: [null, 4] },
    [
      input('x', 1, 5, 4),
      node('boxes', 'Squeeze', ['x'], { T: float, squeeze_dims: { list: { i: ['0'] } } }),
      node('best', 'NonMaxSuppressionV5', ['boxes', 'scores', 'most', 'overlap', 'least', 'sigma']),
      node('kept', 'GatherV2', ['boxes', 'best', 'axis']),
      node('y', 'ExpandDims', ['kept', 'axis']),
    ],
    [
      { name: 'scores', shape: [5], dtype: 'float32', values: [0.9, 0.8, 0.7, 0.6, 0.1] },
      number('most', 3, 'int32'),
      number('overlap', 0.5),
      number('least', 0.3),
      number('sigma', 0),
      number('axis', 0, 'int32'),
    ],
  );

const LOOP_CONSTANTS: Weight[] = [
  number('hundred', 100),
  number('two', 2),
  { name: 'axis', shape: [1], dtype: 'int32', values: [0] },
];

/** x doubled until it is at least 100, as TensorFlow 2 writes a loop. */
const loop = () =>
  write(
    'loop',
    { x: [], y: [] },
    [
      input('x', 1),
      node('y', 'StatelessWhile', ['x'], {
        cond: { func: { name: 'isSmall' } },
        body: { func: { name: 'double' } },
      }),
    ],
    LOOP_CONSTANTS,
    [
      functionOf(
        'isSmall',
        [
          ...LOOP_CONSTANTS.map(constant),
          node('less', 'Less', ['a', 'hundred:output:0']),
          node('out', 'All', ['less:z:0', 'axis:output:0']),
        ],
        'out:output:0',
      ),
      functionOf(
        'double',
        [...LOOP_CONSTANTS.map(constant), node('out', 'Mul', ['a', 'two:output:0'])],
        'out:z:0',
      ),
    ],
  );

/** The same as TensorFlow 1 writes it, node by node. */
const oldLoop = () =>
  write(
    'old-loop',
    { x: [], y: [] },
    [
      input('x', 1),
      node('enter', 'Enter', ['x'], frame()),
      node('hundredIn', 'Enter', ['hundred'], frame(true)),
      node('twoIn', 'Enter', ['two'], frame(true)),
      node('axisIn', 'Enter', ['axis'], frame(true)),
      node('merge', 'Merge', ['enter', 'next']),
      node('less', 'Less', ['merge', 'hundredIn']),
      node('all', 'All', ['less', 'axisIn']),
      node('go', 'LoopCond', ['all']),
      node('switch', 'Switch', ['merge', 'go']),
      node('doubled', 'Mul', ['switch:1', 'twoIn']),
      node('next', 'NextIteration', ['doubled']),
      node('y', 'Exit', ['switch']),
    ],
    LOOP_CONSTANTS,
  );

/** x's positive values, in their order: a result of any size. */
const positive = () =>
  write(
    'positive',
    { x: [4], y: [null] },
    [
      input('x', 1, 4),
      node('row', 'Squeeze', ['x'], { T: float, squeeze_dims: { list: { i: ['0'] } } }),
      node('isPositive', 'Greater', ['row', 'zero']),
      node('places', 'Where', ['isPositive']),
      node('flat', 'Reshape', ['places', 'minusOne']),
      node('kept', 'GatherV2', ['row', 'flat', 'axis']),
      node('y', 'ExpandDims', ['kept', 'axis']),
    ],
    [
      number('zero', 0),
      number('axis', 0, 'int32'),
      { name: 'minusOne', shape: [1], dtype: 'int32', values: [-1] },
    ],
  );

/** The real part of the spectrum of x. */
const spectrum = () =>
  write(
    'spectrum',
    { x: [4], y: [4] },
    [
      input('x', 1, 4),
      node('zero', 'ZerosLike', ['x'], { T: float }),
      node('complex', 'Complex', ['x', 'zero'], { T: float }),
      node('fft', 'FFT', ['complex']),
      node('y', 'Real', ['fft']),
    ],
    [],
  );

/** x, and a random number between 0 and 1. */
const noise = () =>
  write(
    'noise',
    { x: [4], y: [4] },
    [
      input('x', 1, 4),
      node('size', 'Shape', ['x'], { T: float }),
      node('drawn', 'RandomUniform', ['size'], { dtype: float }),
      node('y', 'AddV2', ['x', 'drawn'], { T: float }),
    ],
    [],
  );

/** 1 where x is true: what is not 0, be it ever so small. */
const truth = () =>
  write(
    'truth',
    { x: [4], y: [4] },
    [
      input('x', 1, 4),
      node('bool', 'Cast', ['x'], { SrcT: float, DstT: { type: 'DT_BOOL' } }),
      node('y', 'Cast', ['bool'], { SrcT: { type: 'DT_BOOL' }, DstT: float }),
    ],
    [],
  );

function functionOf(name: string, nodeDef: Node[], output: string): object {
  return {
    signature: {
      name,
      inputArg: [{ name: 'a', type: 'DT_FLOAT' }],
      outputArg: [{ name: 'r', type: 'DT_FLOAT' }],
    },
    nodeDef,
    ret: { r: output },
  };
}

function frame(isConstant = false): object {
  return { T: float, frame_name: { s: 'bG9vcA==' }, is_constant: { b: isConstant } };
}

async function run(model: LoadedModel, shape: number[], values: number[]) {
  const { y } = await model.run({
    x: { dtype: 'float32', shape: [1, ...shape], data: Float32Array.from(values) },
  });
  return { shape: y?.shape, data: [...(y?.data ?? [])] };
}

const BOXES = [0, 0, 1, 1, 0, 0.1, 1, 1.1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7];

// One process holds one tfjs: the backend that is chosen first, which is `wasm` here.
describe.each(TFJS_BACKENDS.filter(({ fault }) => fault === null).map(({ name }) => name))(
  'on %s',
  (name) => {
    let backend: Backend;
    beforeAll(async () => {
      ({ backend } = await chooseBackend(name, SLUICE_CACHE_DIR));
    });

    it.each<[string, () => TinyModel, number[], number[], { shape: number[]; data: number[] }]>([
      [
        'a detector',
        detector,
        [5, 4],
        BOXES,
        { shape: [1, 3, 4], data: [...BOXES.slice(0, 4), ...BOXES.slice(8, 16)] },
      ],
      ['a loop', loop, [], [3], { shape: [1], data: [192] }],
      ['an old loop', oldLoop, [], [3], { shape: [1], data: [192] }],
      ['a cast to bool', truth, [4], [0.4, 0, 256, -0.1], { shape: [1, 4], data: [1, 0, 1, 1] }],
      ['Where', positive, [4], [1, -2, 3, -4], { shape: [1, 2], data: [1, 3] }],
    ])('%s computes, and leaves nothing behind', async (_, make, shape, values, expected) => {
      const { folder, manifest } = make();
      const before = backend.liveTensors();
      const model = await backend.load(folder, manifest);
      await run(model, shape, values);
      // The first run of TensorFlow itself has added what goes with the model.
      const loaded = backend.liveTensors();
      for (let i = 0; i < 20; i++) expect(await run(model, shape, values)).toEqual(expected);
      expect(backend.liveTensors()).toBe(loaded);
      model.dispose();
      expect(backend.liveTensors()).toBe(before);
    });

    it('random numbers are other ones each time, and leave nothing behind', async () => {
      const { folder, manifest } = noise();
      const model = await backend.load(folder, { ...manifest, stateful: 'allow' });
      const loaded = backend.liveTensors();
      const draw = async () => (await run(model, [4], [0, 0, 0, 0])).data;
      expect(await draw()).not.toEqual(await draw());
      for (const value of Array.from((await draw()) as never, Number))
        expect(value).toBe(Math.min(Math.max(value, 0), 1));
      expect(backend.liveTensors()).toBe(loaded);
      model.dispose();
      await expect(backend.load(folder, manifest)).rejects.toThrow(/RandomUniform \(random numbers/);
    });

    it('what the backend lacks is told with the way on', async () => {
      const { folder, manifest } = spectrum();
      const model = await backend.load(folder, manifest);
      const before = backend.liveTensors();
      const ran = run(model, [4], [1, 2, 3, 4]);
      if (name === 'wasm')
        await expect(ran).rejects.toThrow(
          'wasm cannot compute Complex; `SLUICE_BACKEND=auto` serves the model from a backend that can',
        );
      else expect((await ran).data).toEqual([10, -2, -2, -2]);
      expect(backend.liveTensors()).toBe(before);
      model.dispose();
    });

    it('a run that fails leaves nothing behind', async () => {
      const { folder, manifest } = detector();
      const model = await backend.load(folder, manifest);
      const loaded = backend.liveTensors();
      // The graph takes one set of boxes; tfjs itself finds that two come.
      const twice = Float32Array.from([...BOXES, ...BOXES]);
      const x = { dtype: 'float32' as const, shape: [2, 5, 4], data: twice };
      await expect(model.run({ x })).rejects.toThrow(/shape/);
      expect(backend.liveTensors()).toBe(loaded);
      model.dispose();
    });
  },
);
