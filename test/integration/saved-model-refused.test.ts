/**
 * Ways to have TensorFlow do what it may not when it loads or serves a SavedModel. With TensorFlow 2.21 files were written
 * or read by a collection, tags, constants, functions, a place, assets and a part that is there twice.
 */
import { cpSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { readSavedModel } from '../../shared/model-packages/saved-model/signature.js';
import {
  call,
  collection,
  type Edit,
  editSavedModel,
  findFunction,
  findNode,
  functionOf,
  type MetaGraphDef,
  node,
  setReplaces,
} from '../support/saved-model-edit.js';
import { ROOT } from '../support/stack.js';

const MODEL = join(ROOT, 'test/fixtures/models/mnist-cnn/1');
/** Nodes of the fixture: what initialises it, and what calls the functions that compute and restore. */
const [INIT, SERVE, RESTORE] = ['NoOp', 'StatefulPartitionedCall_1', 'StatefulPartitionedCall_3'] as const;

const root = mkdtempSync(join(tmpdir(), 'sluice-saved-model-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(root, 'model-'));
  cpSync(MODEL, folder, { recursive: true });
});

const library = (graph: MetaGraphDef) => graph.getGraphDef().getLibrary();
const nameOfThe = (op: string, graph: MetaGraphDef) => findFunction(graph, op).getSignature().getName();

/** The fixture's graph with other tags, which writes when it is initialised. */
function evilWith(tags: string[], graph: MetaGraphDef): MetaGraphDef {
  const evil = graph.clone();
  evil.getMetaInfoDef().setTagsList(tags);
  evil.getGraphDef().addNode(node('evil', 'WriteFile'));
  findNode(evil, INIT).addInput('^evil');
  return evil;
}

/** Only this collection names the operation that initialises the table. */
function initialisedBy(key: string, graph: MetaGraphDef): void {
  graph.getGraphDef().addNode(node('evil', 'WriteFile'));
  graph.getSignatureDefMap().del('__saved_model_init_op');
  graph.getCollectionDefMap().del('saved_model_main_op');
  graph.getCollectionDefMap().set(key, collection('evil'));
}

const INITIALISATION = /its initialisation uses operations that are not allowed: WriteFile/;
const ELSEWHERE = /its loading reads variables at another place than the one in its folder/;
const NOT_ALONE = /reads or writes files, and not for the saver alone/;
const ONE_GRAPH = /must hold one graph, with the one tag "serve"/;

const REFUSED: [string, Edit, RegExp][] = [
  ['a collection names what is run', (graph) => initialisedBy('saved_model_main_op', graph), INITIALISATION],
  [
    'a collection of old names what is run',
    (graph) => initialisedBy('legacy_init_op', graph),
    INITIALISATION,
  ],
  [
    'a graph has the same tag twice',
    (graph, model) => model.setMetaGraphsList([evilWith(['serve', 'serve'], graph), graph]),
    ONE_GRAPH,
  ],
  [
    'a graph is for other tags',
    (graph, model) => model.setMetaGraphsList([graph, evilWith(['serve', 'gpu'], graph)]),
    ONE_GRAPH,
  ],
  [
    'a node is not run, but may be computed once its graph is taken in',
    (graph) => graph.getGraphDef().addNode(node('read', 'ReadFile')),
    /what it does not run uses operations that are not allowed: ReadFile/,
  ],
  [
    'a function is not run, but may be in the place of another',
    (graph) => library(graph).addFunction(functionOf('other', node('evil', 'WriteFile'))),
    /what it does not run uses operations that are not allowed: WriteFile/,
  ],
  [
    'a function is named by what another is called with',
    (graph) => {
      library(graph).addFunction(functionOf('hub'));
      graph.getGraphDef().addNode(call('hidden', 'hub', [], nameOfThe('SaveV2', graph)));
      findNode(graph, INIT).addInput('^hidden');
    },
    /its initialisation uses .* MergeV2Checkpoints, SaveV2, ShardedFilename/,
  ],
  [
    'a function could be named by a default',
    (graph) => library(graph).addFunction(functionOf('hub')).getSignature().addAttr(),
    /the function hub of the SavedModel has parameters besides tensors/,
  ],
  [
    'an operation has the name of a function',
    (graph) => {
      library(graph).addFunction(functionOf('WriteFile'));
      graph.getGraphDef().addNode(node('evil', 'WriteFile'));
      findNode(graph, INIT).addInput('^evil');
    },
    INITIALISATION,
  ],
  [
    'two functions have one name',
    (graph) => library(graph).addFunction(functionOf(nameOfThe('SaveV2', graph))),
    /two nodes, or functions, of one name/,
  ],
  [
    'another function calls what saves',
    (graph) => library(graph).addFunction(functionOf('hub', call('save', nameOfThe('SaveV2', graph), []))),
    NOT_ALONE,
  ],
  [
    'another function calls what restores',
    (graph) =>
      library(graph).addFunction(functionOf('hub', call('restore', nameOfThe('RestoreV2', graph), []))),
    NOT_ALONE,
  ],
  ['what saves may replace another', (graph) => setReplaces(findFunction(graph, 'SaveV2')), NOT_ALONE],
  ['what restores may replace another', (graph) => setReplaces(findFunction(graph, 'RestoreV2')), NOT_ALONE],
  [
    'what restores has a place of its own',
    (graph) => {
      const restoring = findFunction(graph, 'RestoreV2');
      restoring.addNodeDef(node('place', 'Const'));
      for (const each of restoring.getNodeDefList())
        if (each.getOp() === 'RestoreV2') each.setInputList(['place:output:0']);
    },
    ELSEWHERE,
  ],
  [
    'what restores is given a place',
    (graph) => {
      const [, ...variables] = findNode(graph, RESTORE).getInputList();
      findNode(graph, RESTORE).setInputList(['Const', ...variables]);
    },
    ELSEWHERE,
  ],
  [
    'what restores is called once more',
    (graph) => graph.getGraphDef().addNode(call('again', nameOfThe('RestoreV2', graph), ['Const'])),
    ELSEWHERE,
  ],
  [
    'the graph restores at a place of its own',
    (graph) => graph.getGraphDef().addNode(node('restore', 'RestoreV2', 'Const')),
    ELSEWHERE,
  ],
  [
    'what initialises restores',
    (graph) => findNode(graph, INIT).addInput(`^${RESTORE}`),
    /its initialisation uses operations that are not allowed: RestoreV2/,
  ],
  [
    'what is served restores',
    (graph) => findNode(graph, SERVE).addInput(`^${RESTORE}`),
    /its signature uses operations that are not allowed: RestoreV2 \(reading variables from files\)/,
  ],
];

describe('a SavedModel is refused', () => {
  it.each(REFUSED)('when %s', async (_, edit, refusal) => {
    editSavedModel(folder, edit);
    await expect(readSavedModel(folder)).rejects.toThrow(refusal);
  });

  it('when a part is there twice, which TensorFlow joins and others do not', async () => {
    let graph: Uint8Array = Buffer.alloc(0);
    editSavedModel(folder, (edited) => {
      findNode(edited, INIT).addInput('^evil');
      graph = edited.serializeBinary();
    });
    const evil = sized(1, sized(1, 'evil'), sized(2, 'WriteFile'));
    writeFileSync(join(folder, 'saved_model.pb'), sized(2, sized(2, evil), graph));
    await expect(readSavedModel(folder)).rejects.toThrow('a message has field 2 twice');
  });

  it.each(['saved_model.cpb', 'saved_model.pbtxt'])('when there is a %s, too', async (other) => {
    writeFileSync(join(folder, other), '');
    await expect(readSavedModel(folder)).rejects.toThrow(`${other} is beside saved_model.pb`);
  });

  it('when it holds its weights itself and is too large, with the way on', async () => {
    truncateSync(join(folder, 'saved_model.pb'), 32 * 1024 * 1024 + 1);
    await expect(readSavedModel(folder)).rejects.toThrow(
      /is larger than 33554432 bytes, because weights are constants in it: export the model itself/,
    );
  });

  it('before its parts fill the memory', async () => {
    const signature = sized(5, sized(1, 'serving_default'), sized(2));
    // Empty nodes, of two bytes each.
    const nodes = new Uint8Array(30 * 1024 * 1024).map((_, at) => (at % 2 ? 0 : 0x0a));
    const graph = sized(2, sized(1, sized(4, 'serve')), signature, sized(2, nodes));
    writeFileSync(join(folder, 'saved_model.pb'), graph);
    await expect(readSavedModel(folder)).rejects.toThrow('a message has more than 262144 fields');
  });
});

describe('a SavedModel is let through', () => {
  it('when it was written anew', async () => {
    const before = readFileSync(join(folder, 'saved_model.pb'));
    editSavedModel(folder, () => undefined);
    expect(readFileSync(join(folder, 'saved_model.pb')).equals(before)).toBe(false);
    await readSavedModel(folder);
  });

  it('when its graph restores at the place that it is given, as in exports of old', async () => {
    editSavedModel(folder, (graph) =>
      graph.getGraphDef().addNode(node('restore', 'RestoreV2', 'saver_filename')),
    );
    await readSavedModel(folder);
  });

  it('when it holds parts of its training, as exports of Keras 2 do', async () => {
    const backward = functionOf('backward', node('drop', 'RandomUniform'), node('back', 'SigmoidGrad'));
    setReplaces(backward);
    editSavedModel(folder, (graph) => library(graph).addFunction(backward));
    await readSavedModel(folder);
  });
});

/** A field of a message, with its size before it. */
function sized(field: number, ...parts: (string | Uint8Array)[]): Buffer {
  const bytes = Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : part)));
  const size: number[] = [];
  let left = bytes.length;
  for (; left >= 0x80; left = Math.floor(left / 0x80)) size.push((left % 0x80) + 0x80);
  return Buffer.concat([Buffer.from([field * 8 + 2, ...size, left]), bytes]);
}
