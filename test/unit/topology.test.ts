/** The layers and operations that a tfjs model may have. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { graphOperationFault } from '../../shared/model-packages/graph-operations.js';
import { checkTopology } from '../../shared/model-packages/topology.js';

const folder = mkdtempSync(join(tmpdir(), 'sluice-topology-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const check = (format: 'layers' | 'graph', modelTopology: unknown, more: object = {}, stateful?: 'allow') => {
  writeFileSync(join(folder, 'model.json'), JSON.stringify({ modelTopology, ...more }));
  return checkTopology(folder, { format, ...(stateful && { stateful }) });
};
const layer = (class_name: string, config: object = {}) => ({ class_name, config });
const sequential = (...layers: object[]) => layer('Sequential', { layers });
const node = (op: string) => ({ name: op, op });

/** The operations that tfjs' converter maps, those that are refused or the others. */
async function operationsOfConverter(refused: boolean): Promise<string[]> {
  const folder = createRequire(import.meta.url).resolve('@tensorflow/tfjs-converter/package.json');
  const lists = join(dirname(folder), 'dist/operations/op_list');
  const files = readdirSync(lists).filter((name) => name.endsWith('.js') && !name.includes('_test'));
  const ops = files.flatMap((name) =>
    [...readFileSync(join(lists, name), 'utf8').matchAll(/'tfOpName': '([^']+)'/g)].map(
      ([, op]) => op as string,
    ),
  );
  return ops.filter((op) => (graphOperationFault(op, false) !== null) === refused);
}

describe('a layers model', () => {
  it('is let through with what tfjs brings', async () => {
    const initialised = layer('Dense', { kernel_initializer: layer('VarianceScaling') });
    const wrapped = layer('TimeDistributed', { layer: initialised });
    const cells = layer('RNN', { cell: layer('StackedRNNCells', { cells: [layer('LSTMCell')] }) });
    await check('layers', { model_config: sequential(initialised, wrapped, cells) });
    await check('layers', sequential(initialised));
    await check('layers', layer('Sequential', [initialised]));
  });

  it.each([
    ['by its version', { keras_version: '3.4.1', model_config: sequential(layer('Dense')) }],
    ['by the shape of its input', sequential(layer('InputLayer', { batch_shape: [null, 784] }))],
    [
      'by the arguments of its layers',
      layer('Functional', { layers: [{ ...layer('Dense'), inbound_nodes: [{ args: [], kwargs: {} }] }] }),
    ],
  ])('is known as one of Keras 3 %s, with the way on', async (_, topology) => {
    await expect(check('layers', topology)).rejects.toThrow(/written by Keras 3.*model.export\('export'\)/);
  });

  it.each([
    ['in the row', sequential(layer('Dense'), layer('Lambda'))],
    ['in a model within', layer('Functional', { layers: [sequential(layer('Lambda'))] })],
    ['wrapped', sequential(layer('TimeDistributed', { layer: layer('Lambda') }))],
    [
      'backwards',
      sequential(layer('Bidirectional', { layer: layer('LSTM'), backward_layer: layer('Lambda') })),
    ],
    ['as a cell', sequential(layer('RNN', { cell: layer('Lambda') }))],
    [
      'among cells',
      sequential(layer('RNN', { cell: layer('StackedRNNCells', { cells: [layer('Lambda')] }) })),
    ],
    ['in a list of old', layer('Sequential', [layer('Lambda')])],
  ])('is refused with a Lambda layer %s', async (_, model) => {
    await expect(check('layers', { model_config: model })).rejects.toThrow(
      'model.json uses layers that are not allowed: Lambda',
    );
  });

  it('is refused with every layer named that is not known, or has no name', async () => {
    const model = sequential(layer('Spy'), layer('Attention'), { config: {} }, layer('constructor'));
    await expect(check('layers', { model_config: model })).rejects.toThrow(
      'not allowed: (one without a name), Attention, Spy, constructor',
    );
    await expect(check('layers', null)).rejects.toThrow('(one without a name)');
  });
});

describe('a graph model', () => {
  it('is let through with operations that compute', async () => {
    await check('graph', { node: ['Placeholder', 'Const', '_FusedConv2D', 'Prelu', 'Softmax'].map(node) });
  });

  it.each([
    ['a custom one', 'SpyOnMe'],
    ['one that runs Python', 'PyFunc'],
    ['one that reads a path', 'SimpleMLLoadModelFromPathWithHandle'],
    ['one that reads a file', 'ReadFile'],
    ['one that prints', 'Print'],
  ])('is refused with %s, in a function, too', async (_, op) => {
    const refusal = `model.json uses operations that are not allowed: ${op}`;
    await expect(check('graph', { node: [node('Const'), node(op)] })).rejects.toThrow(refusal);
    const library = { function: [{ signature: { name: 'f' }, nodeDef: [node(op)] }] };
    await expect(check('graph', { node: [node('Const')], library })).rejects.toThrow(refusal);
  });

  it('is refused with what TensorFlow.js lacks, and told who computes it', async () => {
    const ops = ['RFFT', 'ResizeBicubic', 'Roll', 'MatrixInverse'];
    await expect(check('graph', { node: ops.map(node) })).rejects.toThrow(
      'model.json uses operations that are not allowed: MatrixInverse, ResizeBicubic, Roll (not computed by TensorFlow.js: serve the SavedModel itself, which TensorFlow computes)',
    );
    await expect(check('graph', { node: [node('SpyOnMe')] })).rejects.toThrow(
      'SpyOnMe (unknown to TensorFlow.js and to TensorFlow)',
    );
    await expect(check('graph', { node: [node('ReadFile')] })).rejects.toThrow(
      'ReadFile (reading or writing files)',
    );
  });

  it('draws random numbers only where model.yaml allows it', async () => {
    const graph = { node: ['RandomUniform', 'Multinomial', 'Print'].map(node) };
    await expect(check('graph', graph)).rejects.toThrow(
      'Multinomial, RandomUniform (random numbers or the time, so equal inputs get unlike predictions: convert the model as it predicts, or say `stateful: allow` in model.yaml), Print (printing, to files too)',
    );
    await expect(check('graph', graph, {}, 'allow')).rejects.toThrow('not allowed: Print (printing');
    await check('graph', { node: ['RandomUniform', 'Multinomial'].map(node) }, {}, 'allow');
  });

  it('may have every operation of the converter that computes', async () => {
    const [computed, others] = [await operationsOfConverter(false), await operationsOfConverter(true)];
    expect(computed.length).toBeGreaterThan(200);
    await check('graph', { node: computed.map(node) });
    expect(others.sort()).toEqual([
      'HashTable',
      'HashTableV2',
      'InitializeTable',
      'InitializeTableV2',
      'LookupTableFind',
      'LookupTableFindV2',
      'LookupTableImport',
      'LookupTableImportV2',
      'LookupTableSize',
      'LookupTableSizeV2',
      'Multinomial',
      'Print',
      'RandomStandardNormal',
      'RandomUniform',
      'RandomUniformInt',
      'SimpleMLCreateModelResource',
      'SimpleMLInferenceOpWithHandle',
      'SimpleMLLoadModelFromPathWithHandle',
      'TruncatedNormal',
    ]);
  });

  it('may have branches and loops, of functions and of nodes', async () => {
    const library = { function: [{ signature: { name: 'f' }, nodeDef: [node('TensorListStack')] }] };
    await check('graph', { node: ['StatelessWhile', 'If', 'Switch', 'TensorArrayV3'].map(node), library });
  });

  it('is initialised by operations that compute, too', async () => {
    const graph = { node: [node('Const')] };
    await check('graph', graph, { modelInitializer: { node: [node('Const'), node('NoOp')] } });
    const tables = { modelInitializer: { node: [node('HashTableV2'), node('LookupTableImportV2')] } };
    await expect(check('graph', graph, tables)).rejects.toThrow(
      'not allowed: HashTableV2 (looking up in tables: serve the SavedModel itself, which TensorFlow computes), LookupTableImportV2 (filling tables',
    );
    const library = { function: [{ signature: { name: 'f' }, nodeDef: [node('ReadFile')] }] };
    await expect(check('graph', graph, { modelInitializer: { library } })).rejects.toThrow('ReadFile');
  });
});
