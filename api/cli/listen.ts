/**
 * `sluice listen`: shows the webhooks that a receiver on this machine would get.
 *
 * The command registers an endpoint for a receiver of its own, prints the events that verify, and deletes the endpoint when
 * it is stopped.
 */
import { type Command, InvalidArgumentError } from 'commander';
import { systemClock, toTimestamp } from '../../shared/base/clock.js';
import { list } from '../../shared/base/config.js';
import type { WebhookEvent } from '../../shared/client/webhooks.js';
import { API_ADDRESS_FILE } from '../../shared/contract/config.js';
import { EVENTS } from '../../shared/contract/webhooks/events.js';
import { type Api, callApi } from './call-api.js';
import { DEFAULT_URL, findApi, isKey, KEY_FILE } from './find-api.js';
import { EXIT, Failure, type Terminal } from './terminal.js';
import { type Arrival, type Inbox, openInbox } from './webhook-inbox.js';

const PATH = '/v1/webhook-endpoints';

interface Options {
  /** Missing for the events that an endpoint gets unless it names some. */
  events?: string[];
  includePredictions?: true;
  forward?: string;
  json?: true;
  port: number;
  url?: string;
  key?: string;
}

interface Endpoint {
  id: string;
  secret: string;
}

/** Adds the command `listen` to `program`; it runs until `terminal.stopped` aborts. */
export function addListenCommand(program: Command, terminal: Terminal): void {
  program
    .command('listen')
    .summary('receives webhooks on this machine and prints those that verify')
    .description(
      `Registers a webhook endpoint for this machine, prints a line for each event that verifies, and deletes the endpoint again at Ctrl-C. Sluice must run on this machine, too, and be allowed to call it, as it is under \`npm start\`.`,
    )
    .option(
      '--events <types>',
      'such as job.succeeded,job.failed; else those that an endpoint gets unasked',
      events,
    )
    .option('--include-predictions', 'asks for the predictions, where they take at most 20 kB')
    .option(
      '--forward <url>',
      'passes each request on, answers as its receiver does, and shows the secret',
      httpUrl,
    )
    .option('--json', 'prints each event whole, as a line of JSON')
    .option('--port <number>', 'port to listen on; 0 takes a free one', port, 0)
    .option(
      '--url <url>',
      `where the API is (default: SLUICE_URL, else the file ${API_ADDRESS_FILE} in SLUICE_DATA_DIR, else ${DEFAULT_URL})`,
      apiUrl,
    )
    .option(
      '--key <key>',
      `key for the API (default: SLUICE_API_KEY, else SLUICE_BOOTSTRAP_KEY, else the file ${KEY_FILE} in SLUICE_DATA_DIR)`,
      apiKey,
    )
    .action((options: Options) => listen(options, terminal));
}

async function listen(options: Options, terminal: Terminal): Promise<void> {
  const forward = options.forward ?? null;
  const api = findApi(options);

  let reveal: (secret: string) => void = () => {};
  const secret = new Promise<string>((resolve) => {
    reveal = resolve;
  });
  const inbox = await openInbox({
    clock: systemClock,
    port: options.port,
    secret,
    forward,
    onArrival: (arrival) => terminal.print(options.json ? jsonOf(arrival) : lineOf(arrival)),
    onRefused: (reason) => terminal.tell(`!!! NOT VERIFIED, answered 401 at ${now()}: ${reason}`),
  }).catch((error: NodeJS.ErrnoException) => {
    throw new Failure(EXIT.unavailable, `Port ${options.port} cannot be listened on: ${error.code}`);
  });

  try {
    const endpoint = await register(api, inbox, {
      description: 'sluice listen',
      ...(options.events && { events: options.events }),
      ...(options.includePredictions && { includePredictions: true }),
    });
    reveal(endpoint.secret);
    terminal.tell(`Listening on ${inbox.url} as ${endpoint.id}; Ctrl-C ends it and deletes the endpoint.`);
    // The application verifies, too, and the secret is gone with the endpoint.
    if (forward) terminal.tell(`Its secret, for ${forward}: ${endpoint.secret}`);
    await aborted(terminal.stopped);
    await remove(api, endpoint);
    terminal.tell(`Stopped; ${endpoint.id} is deleted.`);
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
  throw new Failure(EXIT.unavailable, `The server at ${api.url} is not the API of Sluice.`);
}

async function remove(api: Api, { id }: Endpoint): Promise<void> {
  await callApi(api, 'DELETE', `${PATH}/${id}`).catch((error: unknown) => {
    if (!(error instanceof Failure)) throw error;
    if (error.code === 'not_found') return;
    throw new Failure(error.exitCode, `The endpoint ${id} is not deleted. ${error.message}`);
  });
}

/** Names the subject of an event: a job or an endpoint by its id, or a version of a model. */
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

function apiKey(text: string): string {
  if (isKey(text)) return text;
  throw new InvalidArgumentError('A key is one word of ASCII letters, digits and signs.');
}

function events(text: string, before: string[] = []): string[] {
  const named = list(text);
  const unknown = named.find((event) => !EVENTS.some((known) => known === event));
  if (unknown === undefined && named.length > 0) return [...new Set([...before, ...named])];
  throw new InvalidArgumentError(
    `${unknown === undefined ? 'It names no event' : `There is no event ${JSON.stringify(unknown)}`}; there are ${EVENTS.join(', ')}.`,
  );
}

function httpUrl(text: string): string {
  if (URL.canParse(text) && /^https?:$/.test(new URL(text).protocol)) return text;
  throw new InvalidArgumentError('A URL such as http://127.0.0.1:3000/hook is needed.');
}

/** Paths are added to this URL, so nothing may follow its path. */
function apiUrl(text: string): string {
  const { username, password, search, hash } = new URL(httpUrl(text));
  if (`${username}${password}${search}${hash}` === '') return text;
  throw new InvalidArgumentError('A URL without user, query and fragment is needed.');
}

function port(text: string): number {
  if (/^\d{1,5}$/.test(text) && Number(text) <= 65_535) return Number(text);
  throw new InvalidArgumentError('A number up to 65535 is needed.');
}

function now(): string {
  return toTimestamp(systemClock.now());
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
