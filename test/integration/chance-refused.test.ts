/**
 * A SavedModel that draws random numbers or writes variables: where it is let through, and the ways by which a value that a caller
 * sends could reach another caller.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { readSavedModel, type SaidOfProgram } from '../../shared/model-packages/saved-model/signature.js';
import {
  call,
  type Edit,
  editedCopy,
  findFunction,
  functionOf,
  library,
  node,
} from '../support/saved-model-edit.js';

const root = mkdtempSync(join(tmpdir(), 'sluice-chance-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const edited = (name: string, edit: Edit) => editedCopy(root, `operations/${name}/1`, edit);

describe('a SavedModel that is not the same twice', () => {
  const read = (said: SaidOfProgram, edit: Edit = () => undefined) =>
    readSavedModel(edited('chance', edit), said);
  const allowed = { stateful: 'allow' } as const;

  it('is refused, with both ways on', async () => {
    await expect(read({})).rejects.toThrow(
      /its signature uses RandomStandardNormal \(random numbers or the time\), so equal inputs get unlike predictions: export it without layers such as RandomFlip, or a function that calls model\(x, training=False\), or say `stateful: allow` in model\.yaml/,
    );
    await expect(read({ signatureName: 'count' })).rejects.toThrow(
      'uses AssignAddVariableOp (writing variables), so',
    );
  });

  it('is let through where model.yaml allows it, unless it keeps what callers send', async () => {
    const { signatures } = await read(allowed);
    expect([...signatures.keys()].sort()).toEqual(['count', 'flip', 'generator', 'serving_default']);
    await expect(read({ ...allowed, signatureName: 'keep' })).rejects.toThrow(
      /writes what callers send where other callers may read it: AssignVariableOp \(AssignVariableOp\)/,
    );
  });

  it.each<[string, string, Edit]>([
    [
      'by a loop that runs as often as they say',
      'count',
      (graph) => {
        const counting = findFunction(graph, 'AssignAddVariableOp');
        const within = call('inner', 'looped', ['x', 'x']);
        library(graph).addFunction(functionOf('looped', node('written', 'AssignAddVariableOp')));
        counting.addNodeDef(within.setOp('While'));
      },
    ],
    [
      'by waiting for them',
      'count',
      (graph) => {
        const counting = findFunction(graph, 'AssignAddVariableOp');
        for (const each of counting.getNodeDefList())
          if (each.getOp() === 'AssignAddVariableOp') each.addInput('^seen');
        counting.addNodeDef(node('seen', 'Identity', 'x'));
      },
    ],
    [
      'by a switch of old, behind which a function is called or not',
      'count',
      (graph) => {
        const counting = findFunction(graph, 'AssignAddVariableOp');
        library(graph).addFunction(functionOf('inner', node('written', 'AssignAddVariableOp')));
        counting.addNodeDef(node('switch', 'Switch', 'var', 'x'));
        counting.addNodeDef(call('inside', 'inner', ['^switch']));
      },
    ],
    [
      'through a stack of the run',
      'count',
      (graph) => {
        const counting = findFunction(graph, 'AssignAddVariableOp');
        counting.addNodeDef(node('stack', 'StackV2'));
        counting.addNodeDef(node('pushed', 'StackPushV2', 'stack:handle:0', 'x'));
        counting.addNodeDef(node('popped', 'StackPopV2', 'stack:handle:0'));
        counting.addNodeDef(node('written', 'AssignVariableOp', 'var', 'popped:elem:0'));
      },
    ],
    [
      'in the state of a generator',
      'generator',
      (graph) =>
        findFunction(graph, 'RngReadAndSkip').addNodeDef(node('skipped', 'RngSkip', 'var', 'alg', 'mean')),
    ],
  ])('is refused when it keeps what callers send %s', async (_, signatureName, edit) => {
    await read({ ...allowed, signatureName });
    await expect(read({ ...allowed, signatureName }, edit)).rejects.toThrow(
      'writes what callers send where other callers may read it',
    );
  });

  it('is judged in a time that grows with its size alone', async () => {
    const COUNT = 20_000;
    const folder = edited('chance', (graph) => {
      const counting = findFunction(graph, 'AssignAddVariableOp');
      // Each node takes the next one, so that one pass over them finds one dependence.
      for (let i = 0; i < COUNT; i++)
        counting.addNodeDef(node(`n${i}`, 'Identity', i + 1 < COUNT ? `n${i + 1}` : 'x'));
      counting.addNodeDef(node('written', 'AssignVariableOp', 'var', 'n0'));
    });
    const startedMs = performance.now();
    await expect(readSavedModel(folder, { ...allowed, signatureName: 'count' })).rejects.toThrow(
      'writes what callers',
    );
    expect(performance.now() - startedMs).toBeLessThan(5000);
  }, 30_000);
});
