/**
 * Configuration: the only file that reads the environment.
 *
 * A table says which variables there are (`VariableTable`). A process that is misconfigured does not start: every fault is
 * listed at once, and an unknown variable with the product's prefix is a fault, because it is usually a misspelt one.
 */
import type { ErrorObject } from 'ajv';
import { Refusal } from './errors.js';
import { requirePackage } from './packages.js';

/** sysexits(3) EX_CONFIG: started with a configuration or environment it must not run with. */
export const EXIT_CONFIG = 78;

/** An error that says the process must not run as configured; its exit code tells supervisors not to try again. */
export class ConfigError extends Refusal {
  readonly exitCode = EXIT_CONFIG;
  override readonly name = 'ConfigError';
}

/** One variable of the environment; its rules are those of JSON Schema. */
export interface Variable {
  type: 'string' | 'integer' | 'boolean';
  default?: string | number | boolean;
  description: string;
  enum?: readonly string[];
  pattern?: string;
  /** Tells people which values `pattern` allows: "must …". */
  form?: string;
  minimum?: number;
  maximum?: number;
  /** No message may show the value. */
  secret?: boolean;
}

export type VariableTable = Readonly<Record<string, Variable>>;

type ValueOf<V extends Variable> = V extends { enum: readonly (infer E)[] }
  ? E
  : V['type'] extends 'integer'
    ? number
    : V['type'] extends 'boolean'
      ? boolean
      : string;

/** The checked environment; a variable without a default may be missing. */
export type ValuesOf<Table extends VariableTable> = Readonly<{
  [K in keyof Table]: Table[K] extends { default: string | number | boolean }
    ? ValueOf<Table[K]>
    : ValueOf<Table[K]> | undefined;
}>;

/** The product that owns a table. A variable that begins with its prefix and is known to none of its programs is a fault. */
export interface Owner {
  product: string;
  prefix: string;
  /** Variables of its other programs, which this one ignores. */
  ignored?: readonly string[];
}

/**
 * Reads and checks the variables of a table.
 * @returns the values, converted to the types of the table, with its defaults; frozen.
 * @throws ConfigError that lists every fault.
 */
export function readVariables<Table extends VariableTable>(
  table: Table,
  { product, prefix, ignored = [] }: Owner,
  environment: NodeJS.ProcessEnv = process.env,
): ValuesOf<Table> {
  const values = givenValues(table, environment);
  const { Ajv } = requirePackage('ajv') as typeof import('ajv');
  const check = new Ajv({
    coerceTypes: true,
    useDefaults: true,
    allErrors: true,
    // The compiler has checked the table; a check at each start would cost milliseconds.
    meta: false,
    validateSchema: false,
    // The check runs once, so it need not run fast.
    code: { optimize: false },
    keywords: ['form', 'secret'],
  }).compile({ type: 'object', properties: table });
  check(values);
  const faults = (check.errors ?? []).map((error) => faultOf(error, table, environment));
  for (const name of Object.keys(environment)) {
    if (name.startsWith(prefix) && !(name in table) && !ignored.includes(name))
      faults.push(`${name} is not a variable of ${product}`);
  }
  if (faults.length > 0) throw new ConfigError(`The configuration cannot be used:\n  ${faults.join('\n  ')}`);
  return Object.freeze(values) as ValuesOf<Table>;
}

/** The environment as it is, with changes, for a process that starts others. */
export function inheritedEnvironment(changes: Record<string, string>): NodeJS.ProcessEnv {
  return { ...process.env, ...changes };
}

/** The elements of a comma-separated value, trimmed, without empty ones. */
export function list(text: string): string[] {
  return text
    .split(',')
    .map((part) => part.trim())
    .filter(Boolean);
}

function givenValues(table: VariableTable, environment: NodeJS.ProcessEnv): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  for (const [name, { type }] of Object.entries(table)) {
    const value = environment[name];
    if (value === undefined || value === '') continue;
    values[name] = type === 'boolean' && (value === '0' || value === '1') ? value === '1' : value;
  }
  return values;
}

function faultOf(error: ErrorObject, table: VariableTable, environment: NodeJS.ProcessEnv): string {
  const name = error.instancePath.slice(1);
  const variable = table[name];
  const shown = variable?.secret ? '' : `=${environment[name]}`;
  return `${name}${shown} ${demandOf(error, variable)}`;
}

function demandOf({ keyword, message }: ErrorObject, variable: Variable | undefined): string {
  if (keyword === 'pattern' && variable?.form) return variable.form;
  if (keyword === 'enum') return `must be one of ${variable?.enum?.join(', ')}`;
  if (keyword !== 'type') return String(message);
  return variable?.type === 'boolean' ? 'must be 0 or 1' : 'must be a whole number';
}
