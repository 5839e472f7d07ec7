/**
 * Sends one attempt: a POST that is bounded in time and in the bytes that it reads.
 *
 * Promises: the whole attempt, from DNS to the last byte read, takes at most `timeoutMs`; at most `MAX_RESPONSE_BYTES` of the
 * response body are read; redirects are not followed; no proxy, no cookies, no credentials. The status line decides: once it
 * has arrived, the attempt has that status even if the body then hangs or breaks off.
 */
import type { IncomingHttpHeaders } from 'node:http';
import { Agent, request } from 'undici';
import type { Clock } from '../../shared/base/clock.js';
import { messageOf } from '../../shared/base/errors.js';
import { type AddressRules, formFault } from '../../shared/contract/webhooks/address.js';
import type { DeliveryAttempt } from '../../shared/contract/webhooks/delivery.js';
import { AddressRefused, createGuardedConnect, type Resolve } from './guarded-connect.js';

const ATTEMPT_TIMEOUT_MS = 15_000;
export const MAX_RESPONSE_BYTES = 16 * 1024;
/** Connections are reused for a short time only, so that a host that has moved is noticed. */
const KEEP_ALIVE_MS = 2000;
const MAX_KEEP_ALIVE_MS = 10_000;

export interface SenderDeps {
  clock: Clock;
  rules: AddressRules;
  /** Sluice's version, for the User-Agent header. */
  version: string;
  timeoutMs?: number;
  resolve?: Resolve;
}

export interface SentAttempt {
  attempt: DeliveryAttempt;
  /** The `Retry-After` header as it came. */
  retryAfter: string | null;
}

export interface Sender {
  /**
   * Sends `body` and returns the attempt. A failure of the receiver or of the network is an attempt too, with `error` set. It
   * rejects only when `signal` aborts, with the reason of `signal`.
   */
  send(url: string, headers: object, body: string, signal: AbortSignal): Promise<SentAttempt>;
  /** Closes all connections. */
  close(): Promise<void>;
}

/** Returns a sender with connections of its own. */
export function createSender(deps: SenderDeps): Sender {
  const { clock, rules, version, timeoutMs = ATTEMPT_TIMEOUT_MS, resolve } = deps;
  const agent = new Agent({
    connect: createGuardedConnect(rules, timeoutMs, resolve),
    keepAliveTimeout: KEEP_ALIVE_MS,
    keepAliveMaxTimeout: MAX_KEEP_ALIVE_MS,
  });

  async function send(url: string, headers: object, body: string, signal: AbortSignal): Promise<SentAttempt> {
    const at = clock.now();
    const startedMs = clock.monotonic();
    const bound = new AbortController();
    const abort = () => bound.abort(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    const cancelTimeout = clock.after(timeoutMs, () => bound.abort(new Timeout(timeoutMs)));
    const attempted = (
      received: Pick<DeliveryAttempt, 'status' | 'error' | 'responseBody'>,
      retryAfter: string | null = null,
    ): SentAttempt => ({
      attempt: { at, ...received, latencyMs: Math.round(clock.monotonic() - startedMs) },
      retryAfter,
    });
    try {
      signal.throwIfAborted();
      // Registration checked the URL too, but perhaps by the rules of an earlier version.
      const fault = formFault(url);
      if (fault) return attempted({ status: null, error: `the URL ${fault}`, responseBody: null });
      const response = await request(url, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'user-agent': `Sluice/${version}`, ...headers },
        body,
        signal: bound.signal,
        dispatcher: agent,
      });
      const responseBody = await readStart(response.body);
      const retryAfter = headerOf(response.headers, 'retry-after');
      return attempted({ status: response.statusCode, error: null, responseBody }, retryAfter);
    } catch (error) {
      signal.throwIfAborted();
      return attempted({ status: null, error: explain(error), responseBody: null });
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

/** Returns the response body up to the limit. The status stands even if the body ends early. */
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
    // The time limit or the receiver has cut the body off.
  }
  return Buffer.concat(chunks).subarray(0, MAX_RESPONSE_BYTES).toString('utf8');
}

function headerOf(headers: IncomingHttpHeaders, name: string): string | null {
  const value = headers[name];
  return (Array.isArray(value) ? value[0] : value) ?? null;
}

/** Says to the tenant what went wrong, without the addresses behind a name. */
function explain(error: unknown): string {
  if (error instanceof Timeout || error instanceof AddressRefused) return error.message;
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : messageOf(error);
}
