/**
 * Webhook receivers that keep books: the library of the standard verifies every request, and the receiver records it.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Webhook } from 'standardwebhooks';
import type { JobView } from '../../shared/contract/job-view.js';
import type { JobEndEvent } from '../../shared/contract/webhooks/events.js';
import { openReceiver, type Received, type Receiver, type Respond } from '../support/receiver.js';
import type { Certificate } from '../support/self-signed.js';
import type { Ledger } from './ledger.js';

/** Returns the status of the response; 0 means that none ever comes. `attempt` is 1 for the first request of a `webhook-id`. */
export type Manner = (attempt: number, response: ServerResponse, request: IncomingMessage) => number;

export interface ReceiverOptions {
  ledger: Ledger;
  tenant: string;
  /** Returns the secret. It is called at each arrival, because an endpoint has a secret only once its receiver has an address. */
  secret: () => string;
  manner?: Manner;
  certificate?: Certificate;
}

export async function openBookkeeper(options: ReceiverOptions): Promise<Receiver> {
  const { ledger, tenant, secret, manner = () => 204 } = options;
  const attempts = new Map<string, number>();

  function write({ headers, body }: Received, answered: number): void {
    ledger.scan(body, tenant, 'a webhook');
    const told = parse(body);
    ledger.saw(told.data, 'webhook');
    ledger.arrived({
      tenant,
      id: headers['webhook-id'] ?? '',
      job: told.data.id,
      type: told.type,
      timestamp: Number(headers['webhook-timestamp']),
      atMs: Date.now(),
      body,
      verified: isVerified(new Webhook(secret()), body, headers),
      answered,
    });
  }

  const respond: Respond = (response, nth, request) => {
    const received = receiver.received[nth - 1];
    if (!received) return;
    const id = received.headers['webhook-id'] ?? '';
    const attempt = (attempts.get(id) ?? 0) + 1;
    attempts.set(id, attempt);
    const answered = manner(attempt, response, request);
    write(received, answered);
    if (answered > 0 && !response.headersSent) response.writeHead(answered).end();
  };
  const receiver = await openReceiver(respond, '127.0.0.1', 0, options.certificate);
  return receiver;
}

function parse(body: string): { type: JobEndEvent; data: JobView } {
  return JSON.parse(body);
}

function isVerified(verifier: Webhook, body: string, headers: Record<string, string>): boolean {
  try {
    verifier.verify(body, headers);
    return true;
  } catch {
    return false;
  }
}
