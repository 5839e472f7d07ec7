/**
 * The client: asks over HTTP as anybody would, and writes everything into the ledger.
 *
 * Every request has an answer here: `status` 0 says that none came. A submit that was answered 5xx, or not at all, is
 * unknown, and a client that gave an Idempotency-Key asks again.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { JobView } from '../../shared/contract/job-view.js';
import type { Answer, Entry } from './evidence.js';
import type { Ledger } from './ledger.js';

export interface Reply {
  /** 0: none. */
  status: number;
  headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: what it holds depends on what was asked
  body: any;
  tookMs: number;
}

export interface Where {
  /** The address of an API. */
  url: string;
  /** After which the client hangs up. */
  patienceMs?: number;
  /** For which a submit may be held until its job has ended. */
  waitSeconds?: number;
}

export interface Client {
  ask(
    tenant: string,
    method: string,
    path: string,
    where: Where,
    body?: string,
    key?: string,
  ): Promise<Reply>;
  submit(entry: Entry, where: Where): Promise<Answer>;
  /** Submits until it is known what became of it: for entries with a key. Throws after `withinMs`. */
  insist(entry: Entry, where: () => Where, withinMs: number): Promise<Answer>;
  /** Null: no answer, or no such job. */
  look(tenant: string, job: string, where: Where, waitSeconds?: number): Promise<JobView | null>;
  cancel(tenant: string, job: string, where: Where): Promise<Reply>;
}

const PATIENCE_MS = 70_000;
const RETRY_MS = 250;
/** Refusals of the service for now: the job certainly does not exist. */
const SURELY_NOT = ['queue_full', 'shutting_down'];

export function createClient(ledger: Ledger, apiKeys: Record<string, string>): Client {
  async function ask(
    tenant: string,
    method: string,
    path: string,
    { url, patienceMs = PATIENCE_MS, waitSeconds }: Where,
    body?: string,
    key?: string,
  ): Promise<Reply> {
    const startedMs = performance.now();
    const took = () => performance.now() - startedMs;
    try {
      const response = await fetch(url + path, {
        method,
        headers: {
          authorization: `Bearer ${apiKeys[tenant]}`,
          ...(body !== undefined && { 'content-type': 'application/json' }),
          ...(key !== undefined && { 'idempotency-key': key }),
          ...(waitSeconds !== undefined && { prefer: `wait=${waitSeconds}` }),
        },
        ...(body !== undefined && { body }),
        signal: AbortSignal.timeout(patienceMs),
      });
      const text = await response.text();
      ledger.scan(text, tenant, `${method} ${path}`);
      const { status, headers } = response;
      return { status, headers, body: text === '' ? null : JSON.parse(text), tookMs: took() };
    } catch (error) {
      return { status: 0, headers: new Headers(), body: String(error), tookMs: took() };
    }
  }

  async function submit(entry: Entry, where: Where): Promise<Answer> {
    const reply = await ask(entry.tenant, 'POST', '/v1/jobs', where, ledger.bodyOf(entry), entry.key);
    const answer = answerOf(reply);
    ledger.answered(entry, answer);
    if (reply.status === 200) ledger.saw(reply.body, 'answer');
    return answer;
  }

  return {
    ask,
    submit,
    async insist(entry, where, withinMs) {
      const untilMs = performance.now() + withinMs;
      for (;;) {
        const answer = await submit(entry, where());
        if (answer.is !== 'unknown') return answer;
        if (performance.now() > untilMs)
          throw new Error(`${entry.id} is unknown for too long: ${answer.why}`);
        await pause(RETRY_MS);
      }
    },
    async look(tenant, job, where, waitSeconds = 0) {
      const { status, body } = await ask(tenant, 'GET', `/v1/jobs/${job}?wait=${waitSeconds}`, where);
      if (status !== 200) return null;
      ledger.saw(body, 'answer');
      return body;
    },
    async cancel(tenant, job, where) {
      const reply = await ask(tenant, 'POST', `/v1/jobs/${job}/cancel`, where, undefined);
      if (reply.status === 200) ledger.saw(reply.body, 'answer');
      return reply;
    },
  };
}

function answerOf({ status, body, tookMs }: Reply): Answer {
  if (status === 200 || status === 202) return { is: 'accepted', job: body.id, tookMs };
  const code = String(body?.code ?? body);
  const isRefused = (status >= 400 && status < 500) || SURELY_NOT.includes(code);
  return isRefused
    ? { is: 'refused', status, code, tookMs }
    : { is: 'unknown', why: `${status} ${code}`, tookMs };
}
