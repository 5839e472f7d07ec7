/**
 * What the commands of `sluice` share: how one looks, how it ends, and how it calls the API.
 */
import { EXIT_CONFIG } from '../../shared/base/config.js';
import { messageOf } from '../../shared/base/errors.js';

/** As sysexits(3) has them. */
export const EXIT = { done: 0, usage: 64, unavailable: 69, noPermission: 77, config: EXIT_CONFIG } as const;

export interface Terminal {
  /** What the command is for, to be read or piped on. */
  print(line: string): void;
  /** Everything else that a person should know. */
  tell(line: string): void;
  /** Aborts at Ctrl-C and its like, or when nobody reads what is printed. */
  stopped: AbortSignal;
}

export interface Command {
  summary: string;
  usage: string;
  /** Resolves to the exit code; a fault that its user can mend is thrown as a `Failure`. */
  run(args: string[], terminal: Terminal): Promise<number>;
}

/** Ends the command with a sentence. */
export class Failure extends Error {
  override readonly name = 'Failure';
  readonly exitCode: number;
  /** Of the API's error. */
  readonly code: string | null;

  constructor(exitCode: number, message: string, code: string | null = null) {
    super(message);
    this.exitCode = exitCode;
    this.code = code;
  }
}

export interface Api {
  url: string;
  key: string;
}

const CALL_TIMEOUT_MS = 10_000;

/** Resolves to the answer's body, `null` if it has none. */
export async function callApi(api: Api, method: string, path: string, body?: object): Promise<unknown> {
  let status: number;
  let text: string;
  try {
    const response = await fetch(api.url.replace(/\/+$/, '') + path, {
      method,
      headers: { authorization: `Bearer ${api.key}`, 'content-type': 'application/json' },
      ...(body && { body: JSON.stringify(body) }),
      redirect: 'manual',
      signal: AbortSignal.timeout(CALL_TIMEOUT_MS),
    });
    status = response.status;
    text = await response.text();
  } catch (error) {
    throw new Failure(
      EXIT.unavailable,
      `The API at ${api.url} cannot be reached (${reasonOf(error)}). \`npm start\` starts one; --url names another.`,
    );
  }
  const answer = parse(text);
  if (status >= 200 && status < 300 && answer !== undefined) return answer;
  throw failureOf(api, status, answer);
}

function failureOf(api: Api, status: number, answer: unknown): Failure {
  const problem = (answer ?? {}) as { code?: unknown; detail?: unknown; title?: unknown };
  const said = problem.detail ?? problem.title;
  const code = typeof problem.code === 'string' ? problem.code : null;
  if (status === 401 || status === 403)
    return new Failure(
      EXIT.noPermission,
      `The API refuses the key (${status}): ${said ?? 'it says no more'}`,
      code,
    );
  if (typeof said !== 'string')
    return new Failure(
      EXIT.unavailable,
      `What answers at ${api.url} with ${status} is not the API of Sluice. --url names another.`,
    );
  return new Failure(EXIT.unavailable, `The API answers ${status}: ${said}`, code);
}

function parse(text: string): unknown {
  if (text === '') return null;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function reasonOf(error: unknown): string {
  const { cause } = error as { cause?: { code?: unknown } };
  return typeof cause?.code === 'string' ? cause.code : messageOf(cause ?? error);
}
