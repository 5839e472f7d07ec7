/**
 * One attempt: POST a body, bounded in time and in what is read of the answer.
 *
 * Promises: the whole attempt, from DNS to the last byte read, takes at most `timeoutMs`; at most
 * `MAX_RESPONSE_BYTES` of the answer are read; redirects are not followed; no proxy, no cookies, no credentials. The
 * status line decides: once it has come, an answer that then hangs or breaks off is still that answer.
 */
import type { IncomingHttpHeaders } from 'node:http';
import { Agent, request } from 'undici';
import type { Clock } from '../../shared/base/clock.js';
import { messageOf } from '../../shared/base/errors.js';
import { type AddressRules, formFault } from '../../shared/contract/webhooks/address.js';
import type { DeliveryAttempt } from '../../shared/contract/webhooks/delivery.js';
import { AddressRefused, createConnect, type Resolve } from './guarded-connect.js';

export const ATTEMPT_TIMEOUT_MS = 15_000;
export const MAX_RESPONSE_BYTES = 16 * 1024;
/** A connection is used again for a short time only, so that a moved host is noticed. */
const KEEP_ALIVE_MS = 2000;
const MAX_KEEP_ALIVE_MS = 10_000;

export interface SenderDeps {
  clock: Clock;
  rules: AddressRules;
  /** Of the product, for the User-Agent. */
  version: string;
  timeoutMs?: number;
  resolve?: Resolve;
}

export interface Answer {
  attempt: DeliveryAttempt;
  retryAfter: string | null;
}

export interface Sender {
  /** Rejects only when `signal` aborts; everything that a receiver or the network does is an answer. */
  send(url: string, headers: object, body: string, signal: AbortSignal): Promise<Answer>;
  close(): Promise<void>;
}

export function createSender(deps: SenderDeps): Sender {
  const { clock, rules, version, timeoutMs = ATTEMPT_TIMEOUT_MS, resolve } = deps;
  const agent = new Agent({
    connect: createConnect(rules, timeoutMs, resolve),
    keepAliveTimeout: KEEP_ALIVE_MS,
    keepAliveMaxTimeout: MAX_KEEP_ALIVE_MS,
  });

  async function send(url: string, headers: object, body: string, signal: AbortSignal): Promise<Answer> {
    const at = clock.now();
    const startedMs = clock.monotonic();
    const bound = new AbortController();
    const abort = () => bound.abort(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    const cancelTimeout = clock.after(timeoutMs, () => bound.abort(new Timeout(timeoutMs)));
    const answer = (
      outcome: Pick<DeliveryAttempt, 'status' | 'error' | 'responseBody'>,
      retryAfter: string | null = null,
    ): Answer => ({
      attempt: { at, ...outcome, latencyMs: Math.round(clock.monotonic() - startedMs) },
      retryAfter,
    });
    try {
      signal.throwIfAborted();
      // Judged at registration, by the rules of that day.
      const fault = formFault(url);
      if (fault) return answer({ status: null, error: `the URL ${fault}`, responseBody: null });
      const response = await request(url, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'user-agent': `Sluice/${version}`, ...headers },
        body,
        signal: bound.signal,
        dispatcher: agent,
      });
      const responseBody = await readStart(response.body);
      const retryAfter = headerOf(response.headers, 'retry-after');
      return answer({ status: response.statusCode, error: null, responseBody }, retryAfter);
    } catch (error) {
      signal.throwIfAborted();
      return answer({ status: null, error: explain(error), responseBody: null });
    } finally {
      cancelTimeout();
      signal.removeEventListener('abort', abort);
    }
  }

  return { send, close: () => agent.destroy() };
}

class Timeout extends Error {
  constructor(timeoutMs: number) {
    super(`no answer within ${timeoutMs / 1000} s`);
  }
}

/** What came of the answer's body up to the limit; whatever ends it early, its status stands. */
async function readStart(body: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of body) {
      chunks.push(chunk);
      length += chunk.length;
      // Leaving the loop destroys the stream and its connection.
      if (length >= MAX_RESPONSE_BYTES) break;
    }
  } catch {
    // Cut by the time limit or by the receiver.
  }
  return Buffer.concat(chunks).subarray(0, MAX_RESPONSE_BYTES).toString('utf8');
}

function headerOf(headers: IncomingHttpHeaders, name: string): string | null {
  const value = headers[name];
  return (Array.isArray(value) ? value[0] : value) ?? null;
}

/** For the tenant: what went wrong, without the addresses behind a name. */
function explain(error: unknown): string {
  if (error instanceof Timeout || error instanceof AddressRefused) return error.message;
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : messageOf(error);
}
