/**
 * Finds what a signature writes into its variables of the values that callers send. A variable outlives a call, so such a value
 * could reach another caller.
 *
 * A node depends on the inputs if one of its own inputs does, also one that only orders execution; the outputs of a node are not
 * told apart. Sizes do not count: how many instances were sent is no value of them. Arrays and stacks of a run pass values
 * around the graph, so all of them depend on the inputs as soon as one does.
 */
import { operationClass } from './operation-table.js';
import type { GraphFunction, GraphNode, Program, ProgramSignature } from './program.js';
import { graphReachedFrom, nodeOf, portsOf } from './reach.js';

const SIZES: ReadonlySet<string> = new Set(['Shape', 'ShapeN', 'Size', 'Rank']);
const PASSED_IN_ORDER: ReadonlySet<string> = new Set(['PartitionedCall', 'StatefulPartitionedCall']);
const KEPT_IN_A_RUN = /^(TensorArray|Stack)/;
/** Generators of random numbers whose state is a variable. */
const GENERATORS = /^(Rng|Stateful(Random|Standard|Truncated|Uniform))/;

/** Returns the nodes of a signature that write what depends on its inputs, each with its operation. */
export function writesOfInputs(program: Program, signature: ProgramSignature): string[] {
  const functions = new Map(program.functions.map((each) => [each.name, each]));
  const nodes = graphReachedFrom(program.nodes, portsOf(signature));
  const inputs = [...signature.inputs.values()].map(({ name }) => nodeOf(name));
  const flow = createFlow(functions);
  flow.follow(nodes, new Set(inputs));
  return [...flow.written].sort();
}

function createFlow(functions: ReadonlyMap<string, GraphFunction>) {
  const written = new Set<string>();
  const followed = new Set<string>();
  let isKept = false;

  /** Follows the names in `given` through a graph or a body. */
  function follow(nodes: readonly GraphNode[], given: ReadonlySet<string>): void {
    const dependent = new Set(given);
    const keptBefore = isKept;
    for (let size = -1; size !== dependent.size; ) {
      size = dependent.size;
      for (const node of nodes) if (depends(node, dependent)) dependent.add(node.name);
    }
    for (const node of nodes) {
      if (!dependent.has(node.name)) callWith(node, dependent);
      else if (isWrite(node)) written.add(`${node.name} (${node.op})`);
      else callWith(node, dependent);
    }
    // The functions that were followed before did not know of it.
    if (isKept && !keptBefore) {
      followed.clear();
      follow(nodes, given);
    }
  }

  function depends({ op, inputs }: GraphNode, dependent: ReadonlySet<string>): boolean {
    const isPassed = KEPT_IN_A_RUN.test(op);
    if (!inputs.some((input) => dependent.has(nodeOf(input)))) return isPassed && isKept;
    if (isPassed) isKept = true;
    return !SIZES.has(op);
  }

  /** Loops and branches run as often as their inputs say, so everything in them depends on them. */
  function callWith(node: GraphNode, dependent: ReadonlySet<string>): void {
    const values = node.inputs.filter((input) => !input.startsWith('^'));
    const isDependent = node.inputs.some((input) => dependent.has(nodeOf(input)));
    for (const name of node.names) {
      const body = functions.get(name);
      if (!body) continue;
      const inOrder = PASSED_IN_ORDER.has(node.op) && values.length === body.arguments.length;
      const given = inOrder
        ? body.arguments.filter((_, i) => dependent.has(nodeOf(values[i] as string)))
        : isDependent
          ? [...body.arguments, ...body.nodes.map((each) => each.name)]
          : [];
      const key = JSON.stringify([name, given]);
      if (followed.has(key)) continue;
      followed.add(key);
      follow(body.nodes, new Set(given));
    }
  }

  return { follow, written };
}

function isWrite({ op }: GraphNode): boolean {
  return operationClass(op) === 'writes' || GENERATORS.test(op);
}
