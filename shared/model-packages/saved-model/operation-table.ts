/**
 * Which operations of TensorFlow may stand in a SavedModel, and where: the class of each is in operations.tsv, and what a class
 * may do is here.
 *
 * `npm run generate:operations` writes operations.tsv from TensorFlow's registry and the rules in deploy/native. An operation
 * that is not in it, such as one of somebody's own library, is refused as unknown.
 */
import { readFileSync } from 'node:fs';

/** The parts of a program that run at different times, or never. */
export type Part = 'signature' | 'loading' | 'initialisation' | 'idle' | 'substitute';

interface Rights {
  /** The parts that may have such operations. */
  in: readonly Part[];
  /** A phrase about such operations, for messages. */
  what: string;
}

const EVERYWHERE: readonly Part[] = ['signature', 'loading', 'initialisation', 'idle', 'substitute'];

/** The rights of each class. Files are touched by the saver and the vocabularies alone, at places that file-places.ts looks at. */
export const CLASSES = {
  computes: { in: EVERYWHERE, what: 'computing from what they are given' },
  calls: { in: EVERYWHERE, what: 'calling functions of the model' },
  variables: { in: EVERYWHERE, what: 'reading variables' },
  tables: { in: EVERYWHERE, what: 'looking up in tables' },
  chance: {
    in: ['initialisation', 'idle', 'substitute'],
    what: 'random numbers or the time',
  },
  writes: { in: ['loading', 'initialisation', 'idle'], what: 'writing variables' },
  fills: { in: ['loading', 'initialisation', 'idle'], what: 'filling tables without a bound' },
  vocabulary: { in: ['initialisation', 'idle'], what: 'filling tables from files' },
  restores: { in: ['loading', 'idle'], what: 'reading variables from files' },
  saves: { in: ['idle'], what: 'writing checkpoints' },
  files: { in: [], what: 'reading or writing files' },
  network: { in: [], what: 'opening connections' },
  host: { in: [], what: 'running code of the process, such as Python, or ending it' },
  prints: { in: [], what: 'printing, to files too' },
  queues: { in: [], what: 'waiting for other calls' },
  datasets: { in: [], what: 'reading datasets in threads of their own' },
  distributed: { in: [], what: 'for several machines or TPUs' },
  keeps: { in: [], what: 'keeping data from call to call without a bound' },
  memory: { in: [], what: 'reading memory that is not cleared, or changing it in place' },
  compiler: { in: [], what: 'for a compiler alone' },
  unread: { in: [], what: 'running a program that the graph does not show' },
  internal: { in: [], what: 'made by TensorFlow for itself' },
  unknown: { in: [], what: 'unknown to TensorFlow' },
} as const satisfies Record<string, Rights>;

export type OperationClass = keyof typeof CLASSES;

const table: ReadonlyMap<string, OperationClass> = new Map(
  readFileSync(new URL('operations.tsv', import.meta.url), 'utf8')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => line.split('\t') as [string, OperationClass]),
);

/** Returns the class of an operation. */
export function operationClass(op: string): OperationClass {
  return table.get(op) ?? 'unknown';
}

/** Tells whether operations of a class may stand in a part of a program. */
export function mayStand(of: OperationClass, part: Part): boolean {
  const { in: parts }: Rights = CLASSES[of];
  return parts.includes(part);
}

/** Returns operations in words, each class with what it is about: "ReadFile (reading or writing files)". */
export function describeOperations(ops: readonly string[]): string {
  const byClass = new Map<OperationClass, string[]>();
  for (const op of [...ops].sort()) {
    const of = operationClass(op);
    byClass.set(of, [...(byClass.get(of) ?? []), op]);
  }
  return [...byClass].map(([of, names]) => `${names.join(', ')} (${CLASSES[of].what})`).join(', ');
}
