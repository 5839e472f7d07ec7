/**
 * A SavedModel is refused for what it does with files, tables, variables and chance, and for an operation of each class that is.
 * TensorFlow 2.21 filled a table from a file outside of the folder when an asset had `..` in its name.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { CLASSES, operationClass } from '../../shared/model-packages/saved-model/operation-table.js';
import { readSavedModel } from '../../shared/model-packages/saved-model/signature.js';
import {
  call,
  type Edit,
  editedCopy,
  findFunction,
  findNode,
  functionOf,
  library,
  type MetaGraphDef,
  node,
  setReplaces,
  withType,
} from '../support/saved-model-edit.js';

const STRING = 7;
/** Nodes of the fixture: where TensorFlow puts the path of the vocabulary, and what keeps it until the table is filled. */
const [PLACE, KEPT, READ] = ['asset_path_initializer', 'Variable/Assign', 'ReadVariableOp'] as const;

const root = mkdtempSync(join(tmpdir(), 'sluice-operations-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const edited = (name: string, edit: Edit) => editedCopy(root, `operations/${name}/1`, edit);
const filling = (graph: MetaGraphDef) => findFunction(graph, 'InitializeTableFromTextFileV2');
const fillingNode = (graph: MetaGraphDef) => {
  const found = filling(graph)
    .getNodeDefList()
    .find((each) => each.getOp() === 'InitializeTableFromTextFileV2');
  if (!found) throw new Error('the fixture is not what it was');
  return found;
};
const callOf = (graph: MetaGraphDef) => {
  const name = filling(graph).getSignature().getName();
  const calls = graph.getGraphDef().getNodeList();
  const found = calls.find((each) => each.getAttrMap().get('f')?.getFunc()?.getName() === name);
  if (!found) throw new Error('the fixture is not what it was');
  return found;
};

const NO_ASSET = /a table of it is filled from a file that is no asset of the version/;
const NO_PLACE = /the path of the asset words\.txt would be put at .*, which is no place for it/;

const VOCABULARIES: [string, Edit, RegExp][] = [
  [
    'an asset is out of its folder',
    (graph) => graph.getAssetFileDefList()[0]?.setFilename('../../../secret'),
    /reads the asset assets\/\.\.\/\.\.\/\.\.\/secret, which is no file of the version/,
  ],
  [
    'an asset is an absolute path',
    (graph) => graph.getAssetFileDefList()[0]?.setFilename('/etc/passwd'),
    /reads the asset assets\/\/etc\/passwd, which is no file of the version/,
  ],
  [
    'an asset was not sent',
    (graph) => graph.getAssetFileDefList()[0]?.setFilename('other.txt'),
    /reads the asset assets\/other\.txt, which is no file of the version/,
  ],
  [
    'an asset is put where the saver has its place',
    (graph) => graph.getAssetFileDefList()[0]?.getTensorInfo().setName('saver_filename:0'),
    NO_PLACE,
  ],
  [
    'an asset is put into something computed',
    (graph) => graph.getAssetFileDefList()[0]?.getTensorInfo().setName('StatefulPartitionedCall:0'),
    NO_PLACE,
  ],
  ['no asset is listed', (graph) => graph.setAssetFileDefList([]), NO_ASSET],
  [
    'a function has a path of its own',
    (graph) => {
      filling(graph).addNodeDef(withType(node('path', 'Const'), 'dtype', STRING));
      const [table = ''] = fillingNode(graph).getInputList();
      fillingNode(graph).setInputList([table, 'path:output:0']);
    },
    NO_ASSET,
  ],
  [
    'a function is called with another path',
    (graph) => {
      graph.getGraphDef().addNode(withType(node('path', 'Const'), 'dtype', STRING));
      const inputs = callOf(graph).getInputList();
      callOf(graph).setInputList(inputs.map((input) => (input === READ ? 'path' : input)));
    },
    NO_ASSET,
  ],
  [
    'a function is called once more, with another path',
    (graph) => {
      graph.getGraphDef().addNode(withType(node('path', 'Const'), 'dtype', STRING));
      graph.getGraphDef().addNode(call('again', filling(graph).getSignature().getName(), ['path', 'path']));
    },
    NO_ASSET,
  ],
  [
    'the graph fills a table from a path of its own',
    (graph) => {
      graph.getGraphDef().addNode(withType(node('path', 'Const'), 'dtype', STRING));
      graph.getGraphDef().addNode(node('fill', 'InitializeTableFromTextFileV2', 'hash_table', 'path'));
    },
    NO_ASSET,
  ],
  [
    'a function is called as what reads the path',
    (graph) => library(graph).addFunction(functionOf('ReadVariableOp')),
    /a function of it has the name of the operation ReadVariableOp/,
  ],
  [
    'a path is joined of parts',
    (graph) => {
      graph.getGraphDef().addNode(node('path', 'StringJoin', PLACE, PLACE));
      findNode(graph, KEPT).setInputList(['Variable', 'path']);
    },
    NO_ASSET,
  ],
  [
    'a string is restored into a variable',
    (graph) =>
      findFunction(graph, 'RestoreV2').addNodeDef(
        withType(node('path', 'AssignVariableOp', 'variable', 'RestoreV2:tensors:0'), 'dtype', STRING),
      ),
    NO_ASSET,
  ],
  [
    'a string is scattered into a variable',
    (graph) =>
      graph.getGraphDef().addNode(withType(node('path', 'ResourceScatterUpdate', PLACE), 'dtype', STRING)),
    NO_ASSET,
  ],
  [
    'another function calls what fills a table',
    (graph) =>
      library(graph).addFunction(
        functionOf('hub', call('fill', filling(graph).getSignature().getName(), [])),
      ),
    /reads or writes files, and not for the saver alone/,
  ],
  [
    'what is served fills a table from a file',
    (graph) => findNode(graph, 'StatefulPartitionedCall').addInput(`^${callOf(graph).getName()}`),
    /its signature uses .*InitializeTableFromTextFileV2 \(filling tables from files\)/,
  ],
  [
    'what is served adds to a table',
    (graph) =>
      findFunction(graph, 'AsString').addNodeDef(node('grow', 'LookupTableInsertV2', 'ids', 'ids', 'ids')),
    /its signature uses .*LookupTableInsertV2 \(filling tables without a bound\)/,
  ],
];

describe('a SavedModel with tables is refused when', () => {
  it.each(VOCABULARIES)('%s', async (_, edit, refusal) => {
    await expect(readSavedModel(edited('tables', edit))).rejects.toThrow(refusal);
  });
});

it.each(['tables', 'of-old'])(
  'a SavedModel with %s is let through, if its vocabulary is there',
  async (name) => {
    const folder = edited(name, () => undefined);
    await readSavedModel(folder);
    rmSync(join(folder, 'assets/words.txt'));
    await expect(readSavedModel(folder)).rejects.toThrow('assets/words.txt, which is no file of the version');
  },
);

it('an export of old is refused when its assets do not name what fills the table', async () => {
  const bare: Edit = (graph) => graph.getCollectionDefMap().del('saved_model_assets');
  await expect(readSavedModel(edited('of-old', bare))).rejects.toThrow(NO_ASSET);
  // TensorFlow does not look at the collection when the graph itself lists an asset.
  const beside: Edit = (graph) => graph.addAssetFileDef().setFilename('words.txt');
  await expect(readSavedModel(edited('of-old', beside))).rejects.toThrow(NO_PLACE);
});

/** Two of each class that no part may have, those among them that TensorFlow computes while it loads, or that look harmless. */
const REFUSED = {
  files: ['ReadFile', 'ImmutableConst', 'DecodeProtoV2', 'FixedUnigramCandidateSampler', 'MatchingFiles'],
  network: ['DebugIdentity', 'Copy', 'RpcCall'],
  host: ['PyFuncStateless', 'EagerPyFunc', 'Abort'],
  prints: ['Print', 'PrintV2'],
  queues: ['QueueDequeueV2', 'BatchFunction', 'BarrierTakeMany', 'MutexLock'],
  datasets: ['DatasetFromGraph', 'CacheDataset', 'InitializeTableFromDataset', 'IteratorGetNext'],
  distributed: ['RemoteCall', 'TPUCompile', 'CollectiveReduce', 'Send'],
  keeps: ['AddSparseToTensorsMap', 'GetSessionHandle'],
  memory: ['Empty', 'InplaceUpdate', 'TemporaryVariable'],
  compiler: ['XlaLaunch', 'XlaHostCompute'],
  unread: ['SymbolicGradient', 'XlaCallModule', 'XlaCustomCallV2', 'MlirPassthroughOp'],
  internal: ['_Send', '_XlaRun', '_FusedConv2D'],
  unknown: ['MyCustomOp', 'Namespace>Own'],
} satisfies Partial<Record<keyof typeof CLASSES, string[]>>;

describe('a SavedModel is refused with an operation', () => {
  const nowhere = Object.entries(CLASSES).filter(([, rights]) => rights.in.length === 0);

  it.each(nowhere.map(([of]) => of as keyof typeof REFUSED))('of the class %s, run or not', async (of) => {
    const ops = REFUSED[of];
    const folder = edited('tables', (graph) => {
      for (const op of ops)
        library(graph).addFunction(functionOf(`${op.replace('>', '')}_1`, node('it', op)));
    });
    expect(ops.map(operationClass)).toEqual(ops.map(() => of));
    await expect(readSavedModel(folder)).rejects.toThrow(
      `what it does not run uses operations that are not allowed: ${[...ops].sort().join(', ')} (${CLASSES[of].what})`,
    );
  });

  it('that writes, in a function that may stand in for another', async () => {
    const folder = edited('tables', (graph) => {
      const other = functionOf('other', node('write', 'AssignAddVariableOp'));
      setReplaces(other);
      library(graph).addFunction(other);
    });
    await expect(readSavedModel(folder)).rejects.toThrow(
      'a function that may stand in for another uses operations that are not allowed: AssignAddVariableOp (writing variables)',
    );
  });
});
