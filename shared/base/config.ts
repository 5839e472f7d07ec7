/**
 * Configuration: the only file that reads the environment.
 *
 * What may be set stands in variables.ts. A process that is misconfigured does not start: every fault is listed at once, and
 * an unknown SLUICE_ variable is a fault (it is usually a misspelt one).
 */
import { Ajv, type ErrorObject } from 'ajv';
import { Refusal } from './errors.js';
import { VARIABLES, type Variable } from './variables.js';

/** sysexits(3) EX_CONFIG: started with a configuration or environment it must not run with. */
export const EXIT_CONFIG = 78;

/** An error that says the process must not run as configured; its exit code tells supervisors not to try again. */
export class ConfigError extends Refusal {
  readonly exitCode = EXIT_CONFIG;
  override readonly name = 'ConfigError';
}

type Variables = typeof VARIABLES;
type ValueOf<V extends Variable> = V extends { enum: readonly (infer E)[] }
  ? E
  : V['type'] extends 'integer'
    ? number
    : V['type'] extends 'boolean'
      ? boolean
      : string;
/** The checked environment; a variable without a default may be missing. */
export type Config = Readonly<{
  [K in keyof Variables]: Variables[K] extends { default: string | number | boolean }
    ? ValueOf<Variables[K]>
    : ValueOf<Variables[K]> | undefined;
}>;

/** Values that must not be shown. */
const SECRET: ReadonlySet<string> = new Set(['REDIS_URL', 'SLUICE_BLOBS_SECRET_KEY', 'SLUICE_BOOTSTRAP_KEY']);

export function loadConfig(environment: NodeJS.ProcessEnv = process.env): Config {
  const values: Record<string, unknown> = {};
  for (const name of Object.keys(VARIABLES)) {
    const value = environment[name];
    if (value !== undefined && value !== '')
      values[name] =
        value === '0' && isBoolean(name) ? false : value === '1' && isBoolean(name) ? true : value;
  }
  const check = new Ajv({
    coerceTypes: true,
    useDefaults: true,
    allErrors: true,
    // That VARIABLES is a schema is not asked again at every start.
    meta: false,
    validateSchema: false,
    keywords: ['form'],
  }).compile({ type: 'object', properties: VARIABLES });
  check(values);
  const faults = (check.errors ?? []).map((error) => faultOf(error, environment));
  for (const name of Object.keys(environment)) {
    if (name.startsWith('SLUICE_') && !(name in VARIABLES))
      faults.push(`${name} is not a variable of Sluice`);
  }
  if (faults.length > 0) throw new ConfigError(`The configuration cannot be used:\n  ${faults.join('\n  ')}`);
  return Object.freeze(values) as Config;
}

function faultOf(error: ErrorObject, environment: NodeJS.ProcessEnv): string {
  const name = error.instancePath.slice(1);
  const shown = SECRET.has(name) ? '' : `=${environment[name]}`;
  return `${name}${shown} ${demandOf(error, (VARIABLES as Record<string, Variable>)[name])}`;
}

function demandOf({ keyword, message }: ErrorObject, variable: Variable | undefined): string {
  if (keyword === 'pattern' && variable?.form) return variable.form;
  if (keyword === 'enum') return `must be one of ${variable?.enum?.join(', ')}`;
  if (keyword !== 'type') return String(message);
  return variable?.type === 'boolean' ? 'must be 0 or 1' : 'must be a whole number';
}

/** The environment as it is, for a process that starts others. */
export function inheritedEnvironment(changes: Record<string, string>): NodeJS.ProcessEnv {
  return { ...process.env, ...changes };
}

export function list(text: string): string[] {
  return text
    .split(',')
    .map((part) => part.trim())
    .filter(Boolean);
}

function isBoolean(name: string): boolean {
  return (VARIABLES as Record<string, Variable>)[name]?.type === 'boolean';
}
