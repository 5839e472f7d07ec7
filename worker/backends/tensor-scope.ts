/**
 * Frees the tensors of a computation that waits in between, which `tidy` of tfjs cannot.
 */
import type { Tensor } from '@tensorflow/tfjs-core';

type Engine = ReturnType<typeof import('@tensorflow/tfjs-core')['engine']>;

/**
 * Resolves to what `compute` resolves to, and frees every other tensor made meanwhile; all of them when it rejects.
 *
 * The engine has one scope at a time, so nothing else may make tensors until then: the one caller of a backend sees to it.
 */
export async function inScope(engine: Engine, compute: () => Promise<Tensor[]>): Promise<Tensor[]> {
  engine.startScope('batch');
  let results: Tensor[] = [];
  try {
    results = await compute();
    return results;
  } catch (error) {
    // Lists of a loop that broke off hold their tensors against the end of the scope.
    for (const tensor of engine.state.activeScope.track) tensor.kept = false;
    throw error;
  } finally {
    engine.endScope(results);
  }
}
