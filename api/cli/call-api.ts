/** One call of the API from a command of `sluice`. */
import { messageOf } from '../../shared/base/errors.js';
import { EXIT, Failure } from './terminal.js';

/** Where the API is, and the key for it. */
export interface Api {
  url: string;
  key: string;
}

const CALL_TIMEOUT_MS = 10_000;

/**
 * Calls the API and resolves to the body of its answer, null when it has none.
 *
 * @param path from `/v1` on; `body` is sent as JSON
 * @throws {Failure} when the API cannot be reached within 10 s, refuses the key or answers with an error
 */
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
      `The server at ${api.url}, which answers ${status}, is not the API of Sluice. --url names another.`,
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
