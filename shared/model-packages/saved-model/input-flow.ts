/**
 * Finds what a signature writes into its variables of the values that callers send. A variable outlives a call, so such a value
 * could reach another caller.
 *
 * A node depends on the inputs if one of its own inputs does, also one that only orders execution; the outputs of a node are not
 * told apart, nor the calls of a function. Sizes do not count: how many instances were sent is no value of them. Arrays and
 * stacks of a run pass values around the graph, so all of them depend on the inputs as soon as one does. Each node is visited
 * once for each of its inputs, so a hostile graph takes no longer than its size.
 */
import { operationClass } from './operation-table.js';
import type { GraphNode, Program, ProgramSignature } from './program.js';
import { functionsOf, graphReachedFrom, nodeOf, portsOf, reachedFrom } from './reach.js';

const SIZES: ReadonlySet<string> = new Set(['Shape', 'ShapeN', 'Size', 'Rank']);
const PASSED_IN_ORDER: ReadonlySet<string> = new Set(['PartitionedCall', 'StatefulPartitionedCall']);
const KEPT_IN_A_RUN = /^(TensorArray|Stack)/;
/** After one of these, a node runs or does not run by its inputs. */
const SWITCHES: ReadonlySet<string> = new Set(['Switch', 'RefSwitch']);
/** Generators of random numbers whose state is a variable. */
const GENERATORS = /^(Rng|Stateful(Random|Standard|Truncated|Uniform))/;

/** The graph, or the body of a function. */
interface Scope {
  nodes: readonly GraphNode[];
  arguments: readonly string[];
  /** The nodes that take an argument or the output of a node, by its name. */
  takers: ReadonlyMap<string, readonly GraphNode[]>;
  switches: boolean;
  /** The names of what depends on the inputs. */
  dependent: Set<string>;
}

/** Returns the nodes of a signature that write what depends on its inputs, each with its operation. */
export function writesOfInputs(program: Program, signature: ProgramSignature): string[] {
  const ports = portsOf(signature);
  const graph = scopeOf(graphReachedFrom(program, ports), []);
  const called = functionsOf(program, reachedFrom(program, ports));
  const bodies = new Map(called.map((each) => [each.name, scopeOf(each.nodes, each.arguments)]));
  const scopes = [graph, ...bodies.values()];
  followInputs(
    scopes,
    bodies,
    [...signature.inputs.values()].map(({ name }) => nodeOf(name)),
  );
  const written = scopes.flatMap(({ nodes, dependent }) =>
    nodes.filter((node) => isWrite(node) && dependent.has(node.name)),
  );
  return [...new Set(written.map(({ name, op }) => `${name} (${op})`))].sort();
}

function scopeOf(nodes: readonly GraphNode[], given: readonly string[]): Scope {
  const takers = new Map<string, GraphNode[]>();
  for (const node of nodes)
    for (const input of node.inputs) {
      const name = nodeOf(input);
      const list = takers.get(name);
      if (list) list.push(node);
      else takers.set(name, [node]);
    }
  const switches = nodes.some(({ op }) => SWITCHES.has(op));
  return { nodes, arguments: given, takers, switches, dependent: new Set() };
}

/** The arguments of a function that the inputs of a call become, by their names; null where a call is none of this kind. */
type Passed = ReadonlyMap<string, readonly string[]> | null;

/** Returns a function that tells them, and finds out once for each call. */
function createArgumentsOf(): (node: GraphNode, body: Scope) => Passed {
  const known = new Map<GraphNode, Passed>();
  return (node, body) => {
    if (!known.has(node)) known.set(node, passedBy(node, body));
    return known.get(node) ?? null;
  };
}

function passedBy(node: GraphNode, body: Scope): Passed {
  const values = node.inputs.filter((input) => !input.startsWith('^')).map(nodeOf);
  // A call names one function beside its operation.
  const inOrder = PASSED_IN_ORDER.has(node.op) && node.names.size === 2;
  if (!inOrder || values.length !== body.arguments.length) return null;
  const passed = new Map<string, string[]>();
  for (const [i, argument] of body.arguments.entries()) {
    const value = values[i] as string;
    const list = passed.get(value);
    if (list) list.push(argument);
    else passed.set(value, [argument]);
  }
  return passed;
}

/** Marks everything that depends on `inputs`, which are nodes of the first scope. */
function followInputs(
  scopes: readonly Scope[],
  bodies: ReadonlyMap<string, Scope>,
  inputs: readonly string[],
): void {
  const open: [Scope, string][] = [];
  const whole = new Set<Scope>();
  const argumentsOf = createArgumentsOf();
  let isKept = false;

  function mark(scope: Scope, names: readonly string[]): void {
    for (const name of names) {
      if (scope.dependent.has(name)) continue;
      scope.dependent.add(name);
      open.push([scope, name]);
    }
  }

  function markKept(): void {
    if (isKept) return;
    isKept = true;
    for (const scope of scopes) mark(scope, namesOf(scope.nodes.filter(({ op }) => KEPT_IN_A_RUN.test(op))));
  }

  /** Loops and branches run as often as their inputs say, so everything in them depends on them. */
  function markCalled(scope: Scope, node: GraphNode, name: string): void {
    for (const called of node.names) {
      const body = bodies.get(called);
      if (!body) continue;
      const passed = scope.switches ? null : argumentsOf(node, body);
      if (passed) mark(body, passed.get(name) ?? []);
      else if (!whole.has(body)) {
        whole.add(body);
        mark(body, [...body.arguments, ...namesOf(body.nodes)]);
      }
    }
  }

  mark(scopes[0] as Scope, inputs);
  for (let next = open.pop(); next; next = open.pop()) {
    const [scope, name] = next;
    for (const node of scope.takers.get(name) ?? []) {
      if (KEPT_IN_A_RUN.test(node.op)) markKept();
      if (!SIZES.has(node.op)) mark(scope, [node.name]);
      markCalled(scope, node, name);
    }
  }
}

function namesOf(nodes: readonly GraphNode[]): string[] {
  return nodes.map(({ name }) => name);
}

function isWrite({ op }: GraphNode): boolean {
  return operationClass(op) === 'writes' || GENERATORS.test(op);
}
