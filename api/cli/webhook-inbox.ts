/**
 * A receiver of webhooks on this machine: it verifies each request, tells of it, and passes it on to a local application.
 *
 * It answers a request that verifies with 204, or with the application's status (502 when the application gives none), and
 * every other request with 401. A request that arrives before the endpoint's secret is known waits for the secret.
 */
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import getRawBody from 'raw-body';
import type { Clock } from '../../shared/base/clock.js';
import { messageOf } from '../../shared/base/errors.js';
import { verifyWebhook, type WebhookEvent, WebhookVerificationError } from '../../shared/client/webhooks.js';

/** One request that verified. */
export interface Arrival {
  webhookId: string;
  event: WebhookEvent;
  /** Whether an event with this id has come before. */
  isRepeated: boolean;
  /** The status of the local application, or why it gave none; null without an application. */
  forwarded: number | string | null;
}

export interface InboxDeps {
  clock: Clock;
  /** 0 takes a free port. */
  port: number;
  secret: Promise<string>;
  forward: string | null;
  onArrival(arrival: Arrival): void;
  onRefused(reason: string): void;
}

export interface Inbox {
  url: string;
  close(): Promise<void>;
}

const HOST = '127.0.0.1';
const MAX_BODY_BYTES = 1024 * 1024;
/** Shorter than the time that the sender gives an attempt, so that the sender gets our answer. */
const FORWARD_TIMEOUT_MS = 14_000;
const MAX_REMEMBERED = 10_000;
/** The headers of a request that are passed on. */
const FORWARDED_HEADERS = /^(webhook-.+|content-type|user-agent)$/;

/** Opens the receiver on 127.0.0.1; rejects with the system's error when the port cannot be listened on. */
export async function openInbox(deps: InboxDeps): Promise<Inbox> {
  const { clock, secret, forward, onArrival, onRefused } = deps;
  const seen = new Set<string>();

  function isRepeated(id: string): boolean {
    const known = seen.delete(id);
    seen.add(id);
    const [oldest] = seen;
    if (seen.size > MAX_REMEMBERED && oldest !== undefined) seen.delete(oldest);
    return known;
  }

  async function take(incoming: IncomingMessage): Promise<number> {
    if (incoming.method !== 'POST') return 405;
    const body = await getRawBody(incoming, { limit: MAX_BODY_BYTES });
    const { headers } = incoming;
    let event: WebhookEvent;
    try {
      event = verifyWebhook({ body, headers, secret: await secret, now: clock.now });
    } catch (error) {
      if (!(error instanceof WebhookVerificationError)) throw error;
      onRefused(error.message);
      return 401;
    }
    const webhookId = String(headers['webhook-id']);
    const repeated = isRepeated(webhookId);
    const forwarded = forward === null ? null : await pass(forward, incoming, body);
    onArrival({ webhookId, event, isRepeated: repeated, forwarded });
    return typeof forwarded === 'string' ? 502 : (forwarded ?? 204);
  }

  const server = createServer((incoming, outgoing) => {
    void take(incoming)
      // The body was too large or broken off.
      .catch((error: { statusCode?: number }) => error.statusCode ?? 500)
      .then((status) => outgoing.writeHead(status).end());
  });
  await opened(server, deps.port);
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://${HOST}:${port}/`,
    close: () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      return closed;
    },
  };
}

/** Passes a request on with its body unchanged, because the application verifies the signature, too. */
async function pass(url: string, { headers }: IncomingMessage, body: Buffer): Promise<number | string> {
  const passed = Object.entries(headers).filter(([name]) => FORWARDED_HEADERS.test(name));
  // Without an application to pass requests on to, its hundred modules are not loaded.
  const { request } = await import('undici');
  try {
    const answer = await request(url, {
      method: 'POST',
      headers: Object.fromEntries(passed),
      body,
      signal: AbortSignal.timeout(FORWARD_TIMEOUT_MS),
    });
    await answer.body.dump();
    return answer.statusCode;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? messageOf(error);
  }
}

function opened(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, HOST, resolve);
  });
}
