/**
 * `sluice listen`: tells of the webhooks that a receiver on this machine would get.
 *
 * Registers an endpoint for a receiver of its own, prints what verifies, and deletes the endpoint when it is stopped.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { systemClock, toTimestamp } from '../../shared/base/clock.js';
import { list } from '../../shared/base/config.js';
import type { WebhookEvent } from '../../shared/client/webhooks.js';
import { type Config, loadConfig } from '../../shared/contract/config.js';
import { EVENTS } from '../../shared/contract/webhooks/events.js';
import { type Api, type Command, callApi, EXIT, Failure, type Terminal } from './command.js';
import { type Arrival, type Inbox, openInbox } from './webhook-inbox.js';

const PATH = '/v1/webhook-endpoints';
const DEFAULT_URL = 'http://127.0.0.1:8080';
const KEY_FILE = 'api-key';

interface Endpoint {
  id: string;
  secret: string;
}

export const listen: Command = {
  summary: 'receives webhooks on this machine and prints those that verify',
  usage: `sluice listen [options]

Registers a webhook endpoint for this machine, prints a line for each event that verifies, and deletes the endpoint
again at Ctrl-C. Sluice has to run on this machine, too, and be allowed to call it, as it is under \`npm start\`.

  --events <types>        as in job.succeeded,job.failed; else all that are told unless asked otherwise
  --include-predictions   with the predictions, where they take at most 20 kB
  --forward <url>         passes each request on as it came, and answers with the status that this gets; tells the
                          secret that requests are signed with
  --json                  prints each event whole, as a line of JSON
  --port <number>         to listen on; else a free one
  --url <url>             of the API; else ${DEFAULT_URL}
  --key <key>             for the API; else SLUICE_BOOTSTRAP_KEY, else the file ${KEY_FILE} in SLUICE_DATA_DIR`,
  run,
};

async function run(args: string[], terminal: Terminal): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      events: { type: 'string', multiple: true, default: [] },
      'include-predictions': { type: 'boolean', default: false },
      forward: { type: 'string' },
      json: { type: 'boolean', default: false },
      port: { type: 'string', default: '0' },
      url: { type: 'string', default: DEFAULT_URL },
      key: { type: 'string' },
    },
  });
  const forward = values.forward === undefined ? null : httpUrl('--forward', values.forward);
  const url = baseUrl('--url', values.url);
  const events = eventsOf(values.events);
  const port = portOf(values.port);
  const api: Api = { url, key: keyOf(values.key ?? storedKey(loadConfig())) };

  let reveal: (secret: string) => void = () => {};
  const secret = new Promise<string>((resolve) => {
    reveal = resolve;
  });
  const inbox = await openInbox({
    clock: systemClock,
    port,
    secret,
    forward,
    onArrival: (arrival) => terminal.print(values.json ? jsonOf(arrival) : lineOf(arrival)),
    onRefused: (reason) => terminal.tell(`!!! NOT VERIFIED, answered 401 at ${now()}: ${reason}`),
  }).catch((error: NodeJS.ErrnoException) => {
    throw new Failure(EXIT.unavailable, `Port ${values.port} cannot be listened on: ${error.code}`);
  });

  try {
    const endpoint = await register(api, inbox, {
      description: 'sluice listen',
      ...(events.length > 0 && { events }),
      ...(values['include-predictions'] && { includePredictions: true }),
    });
    reveal(endpoint.secret);
    terminal.tell(`Listening on ${inbox.url} as ${endpoint.id}; Ctrl-C ends it and deletes the endpoint.`);
    // The application verifies, too, and the secret is gone with the endpoint.
    if (forward) terminal.tell(`Its secret, for ${forward}: ${endpoint.secret}`);
    await aborted(terminal.stopped);
    await remove(api, endpoint);
    terminal.tell(`Stopped; ${endpoint.id} is deleted.`);
    return EXIT.done;
  } finally {
    await inbox.close();
  }
}

async function register(api: Api, { url }: Inbox, settings: object): Promise<Endpoint> {
  const answer = await callApi(api, 'POST', PATH, { url, ...settings }).catch((error: unknown) => {
    if (!(error instanceof Failure) || error.code !== 'url_not_allowed') throw error;
    throw new Failure(
      EXIT.config,
      `Sluice may not call ${url}. Start the API and its workers with 127.0.0.0/8 in SLUICE_WEBHOOK_ALLOW_PRIVATE, on this machine.\n${error.message}`,
    );
  });
  const { id, secret } = (answer ?? {}) as Partial<Endpoint>;
  if (typeof id === 'string' && typeof secret === 'string') return { id, secret };
  throw new Failure(EXIT.unavailable, `What answers at ${api.url} is not the API of Sluice.`);
}

async function remove(api: Api, { id }: Endpoint): Promise<void> {
  await callApi(api, 'DELETE', `${PATH}/${id}`).catch((error: unknown) => {
    if (!(error instanceof Failure)) throw error;
    if (error.code === 'not_found') return;
    throw new Failure(error.exitCode, `The endpoint ${id} is not deleted. ${error.message}`);
  });
}

/** Whom an event is about: a job or an endpoint by its id, a version of a model. */
function subjectOf({ data }: WebhookEvent): string {
  if (typeof data?.id === 'string') return data.id;
  return typeof data?.model === 'string' ? `${data.model}@${data.version}` : '-';
}

function lineOf({ webhookId, event, isRepeated, forwarded }: Arrival): string {
  const parts = [now(), event.type, subjectOf(event), webhookId];
  if (isRepeated) parts.push('repeated');
  if (forwarded !== null) parts.push(`-> ${forwarded}`);
  return parts.join('  ');
}

function jsonOf({ webhookId, event, isRepeated, forwarded }: Arrival): string {
  return JSON.stringify({
    webhookId,
    repeated: isRepeated,
    ...(forwarded !== null && { forwarded }),
    ...event,
  });
}

function storedKey(config: Config): string {
  if (config.SLUICE_BOOTSTRAP_KEY) return config.SLUICE_BOOTSTRAP_KEY;
  const file = join(config.SLUICE_DATA_DIR, KEY_FILE);
  try {
    return readFileSync(file, 'utf8').trim();
  } catch {
    throw new Failure(
      EXIT.usage,
      `There is no API key in ${file}, where \`npm start\` keeps one; --key gives it.`,
    );
  }
}

/** What could not be sent in a header is not shown either. */
function keyOf(text: string): string {
  if (/^[\x21-\x7e]+$/.test(text)) return text;
  throw new Failure(EXIT.usage, 'The API key is no word of letters, digits and signs; --key gives one.');
}

function eventsOf(texts: string[]): string[] {
  const events = texts.flatMap(list);
  const unknown = events.find((event) => !EVENTS.some((known) => known === event));
  if (unknown !== undefined || (texts.length > 0 && events.length === 0))
    throw new Failure(
      EXIT.usage,
      `--events takes some of ${EVENTS.join(', ')}${unknown ? `; ${JSON.stringify(unknown)} is none` : ''}`,
    );
  return [...new Set(events)];
}

function httpUrl(option: string, text: string): string {
  if (URL.canParse(text) && /^https?:$/.test(new URL(text).protocol)) return text;
  throw new Failure(EXIT.usage, `${option} takes a URL such as http://127.0.0.1:3000/hook`);
}

/** One that paths are added to. */
function baseUrl(option: string, text: string): string {
  const { username, password, search, hash } = new URL(httpUrl(option, text));
  if (`${username}${password}${search}${hash}` === '') return text;
  throw new Failure(EXIT.usage, `${option} takes a URL without user, query and fragment`);
}

function portOf(text: string): number {
  if (/^\d{1,5}$/.test(text) && Number(text) <= 65_535) return Number(text);
  throw new Failure(EXIT.usage, '--port takes a number up to 65535');
}

function now(): string {
  return toTimestamp(systemClock.now());
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
