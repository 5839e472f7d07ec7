/**
 * `sluice listen` as a process, beside a stand-in for the two calls of the API that it makes.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { newSigningSecret, sign } from '../../shared/contract/webhooks/signing.js';
import { answer, openReceiver, type Receiver } from '../support/receiver.js';
import { exited, freePort, ROOT } from '../support/stack.js';
import { temporaryFolder } from '../support/started-redis.js';

const KEY = `slk_${'k'.repeat(22)}`;
const SECRET = newSigningSecret();
const ENDPOINT = { id: 'whe_1', secret: SECRET };
const TIME = '\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{3}Z';

/** The stand-in's answers to a registration and to a deletion, and the requests that it was sent. */
interface Api {
  url: string;
  asked: { call: string; key: string | undefined; body: unknown }[];
  /** Where events are to be sent, once the command has said so. */
  target(): string;
  close(): Promise<void>;
}
type Reply = [status: number, body: unknown];

let folder: ReturnType<typeof temporaryFolder>;
const closers: (() => unknown)[] = [];
let command: ChildProcess | undefined;
let printed = '';
let told = '';

beforeEach(() => {
  folder = temporaryFolder();
});
afterEach(async () => {
  if (command?.exitCode === null && command.signalCode === null) {
    process.kill(-(command.pid as number), 'SIGKILL');
    await exited(command);
  }
  command = undefined;
  for (const close of closers.splice(0)) await close();
  folder.remove();
});

async function openApi(
  created: Reply | ((body: { url: string }) => Promise<Reply>) = [201, ENDPOINT],
  deleted: Reply = [204, null],
): Promise<Api> {
  const asked: Api['asked'] = [];
  const reply = async (incoming: IncomingMessage): Promise<Reply> => {
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk);
    const text = Buffer.concat(chunks).toString();
    const body = text === '' ? null : JSON.parse(text);
    const call = `${incoming.method} ${incoming.url}`;
    asked.push({ call, key: incoming.headers.authorization, body });
    if (call === 'POST /v1/webhook-endpoints') return typeof created === 'function' ? created(body) : created;
    return call === 'DELETE /v1/webhook-endpoints/whe_1' ? deleted : [404, {}];
  };
  const server = createServer(async (incoming, response) => {
    const [status, body] = await reply(incoming);
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    response.writeHead(status).end(body === null ? '' : text);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const close = () => {
    server.closeAllConnections();
    return new Promise<void>((resolve) => server.close(() => resolve()));
  };
  closers.push(close);
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { url, asked, close, target: () => targetOf(asked[0]?.body) };
}

function targetOf(body: unknown): string {
  return (body as { url: string }).url;
}

/** Runs `sluice` with these arguments. */
function sluice(
  args: string[],
  env: Record<string, string> = {},
  program = [process.execPath, 'dist/api/cli/main.js'],
) {
  const [file = '', ...before] = program;
  printed = '';
  told = '';
  command = spawn(file, [...before, ...args], {
    cwd: ROOT,
    env: { ...process.env, SLUICE_DATA_DIR: folder.path, ...env },
    detached: true,
  });
  command.stdout?.on('data', (text) => (printed += text));
  command.stderr?.on('data', (text) => (told += text));
}

/** Runs it to its end. */
async function ended(args: string[], env: Record<string, string> = {}): Promise<number | null> {
  sluice(args, env);
  return exited(command as ChildProcess);
}

const until = (text: () => string) => expect.poll(text, { timeout: 20_000, interval: 20 });

async function listen(api: Api, args: string[] = [], program?: string[]): Promise<void> {
  sluice(['listen', '--url', api.url, '--key', KEY, ...args], {}, program);
  await until(() => told).toContain('Listening on');
}

interface Change {
  secret?: string;
  id?: string;
  headers?: Record<string, string>;
  body?: string;
}

const BODY = JSON.stringify({
  type: 'job.succeeded',
  timestamp: '2026-11-25T12:00:00.000Z',
  data: { id: 'job_1', status: 'succeeded' },
});

async function post(url: string, change: Change = {}): Promise<number> {
  const { secret = SECRET, id = 'evt_1', headers = {}, body = BODY } = change;
  const response = await fetch(url, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      'user-agent': 'Sluice/1.2.3',
      ...sign([secret], id, Math.floor(Date.now() / 1000), BODY),
      ...headers,
    },
    body,
  });
  await response.body?.cancel();
  return response.status;
}

async function stop(signal: NodeJS.Signals = 'SIGINT'): Promise<number | null> {
  command?.kill(signal);
  return exited(command as ChildProcess);
}

describe('sluice listen', () => {
  it('prints each event that verifies in a line, and says what does not', async () => {
    const api = await openApi();
    await listen(api);
    expect(api.asked).toEqual([
      {
        call: 'POST /v1/webhook-endpoints',
        key: `Bearer ${KEY}`,
        body: { url: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+\/$/), description: 'sluice listen' },
      },
    ]);
    const url = api.target();
    expect(await post(url)).toBe(204);
    expect(await post(url), 'again').toBe(204);
    const body = BODY.replace('"id":"job_1"', '"model":"mnist","version":3');
    const signed = sign([SECRET], 'evt_2', Math.floor(Date.now() / 1000), body);
    expect(await post(url, { headers: { ...signed }, body })).toBe(204);
    await until(() => printed).toMatch(
      new RegExp(
        [
          `^${TIME}  job.succeeded  job_1  evt_1`,
          `${TIME}  job.succeeded  job_1  evt_1  repeated`,
          `${TIME}  job.succeeded  mnist@3  evt_2\n$`,
        ].join('\n'),
      ),
    );

    const before = printed;
    expect(await post(url, { secret: newSigningSecret() })).toBe(401);
    expect(await post(url, { body: `${BODY} ` })).toBe(401);
    expect(await post(url, { headers: { 'webhook-timestamp': '1614265330' } })).toBe(401);
    await until(() => told.split('!!! NOT VERIFIED, answered 401').length.toString()).toBe('4');
    expect(told).toContain('too old');
    expect(printed).toBe(before);
    expect((await fetch(url)).status, 'a browser that looks').toBe(405);
    expect(await post(url, { body: 'x'.repeat(1_100_000) })).toBe(413);

    expect(await stop()).toBe(0);
    expect(told, 'nobody needs it').not.toContain(SECRET);
    expect(api.asked.map(({ call }) => call)).toEqual([
      'POST /v1/webhook-endpoints',
      'DELETE /v1/webhook-endpoints/whe_1',
    ]);
    expect(told).toContain('whe_1 is deleted');
  });

  it('asks for the events that it is told to, and prints them whole', async () => {
    const api = await openApi();
    const port = await freePort();
    await listen(api, [
      ...['--events', 'job.succeeded, job.failed', '--events=job.started', '--include-predictions'],
      ...['--json', '--port', String(port)],
    ]);
    expect(api.asked[0]?.body).toEqual({
      url: `http://127.0.0.1:${port}/`,
      description: 'sluice listen',
      events: ['job.succeeded', 'job.failed', 'job.started'],
      includePredictions: true,
    });
    await post(api.target());
    await post(api.target());
    await until(() => printed).toMatch(/\n.*\n$/);
    const event = { webhookId: 'evt_1', repeated: false, ...JSON.parse(BODY) };
    expect(
      printed
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line)),
    ).toEqual([event, { ...event, repeated: true }]);
    expect(await stop('SIGTERM')).toBe(0);
  });

  it('holds what comes before its secret is known', async () => {
    let early: Promise<number | undefined> | undefined;
    const api = await openApi(async ({ url }) => {
      const headers = {
        expect: '100-continue',
        ...sign([SECRET], 'evt_1', Math.floor(Date.now() / 1000), BODY),
      };
      const sent = request(url, { method: 'POST', headers });
      early = new Promise((resolve) => sent.once('response', (response) => resolve(response.statusCode)));
      sent.flushHeaders();
      await once(sent, 'continue');
      sent.end(BODY);
      return [201, ENDPOINT];
    });
    await listen(api);
    expect(await early).toBe(204);
    await until(() => printed).toContain('evt_1');
  });

  it('passes requests on as they came, and answers as the application does', async () => {
    const application: Receiver = await openReceiver((response, nth) => {
      response
        .writeHead([200, 500, 307][nth - 1] ?? 204, { location: application.url })
        .end('x'.repeat(100_000));
    });
    closers.push(application.close);
    const api = await openApi();
    await listen(api, ['--forward', application.url]);
    await until(() => told).toContain(`${application.url}: ${SECRET}\n`);
    const url = api.target();
    expect([await post(url), await post(url), await post(url), await post(url)]).toEqual([
      200, 500, 307, 204,
    ]);
    expect(await post(url, { secret: newSigningSecret() }), 'what is forged stays here').toBe(401);
    expect(application.received).toHaveLength(4);
    const [{ headers, body }] = application.received as [{ headers: Record<string, string>; body: string }];
    expect(body).toBe(BODY);
    expect(headers).toMatchObject({
      'content-type': 'application/json',
      'user-agent': 'Sluice/1.2.3',
      'webhook-id': 'evt_1',
      'webhook-signature': expect.stringMatching(/^v1,/),
      'webhook-timestamp': expect.stringMatching(/^\d+$/),
    });
    await application.close();
    expect(await post(url)).toBe(502);
    await until(() =>
      printed
        .split('\n')
        .map((line) => line.split('evt_1  ')[1] ?? '')
        .join('|'),
    ).toBe('-> 200|repeated  -> 500|repeated  -> 307|repeated  -> 204|repeated  -> ECONNREFUSED|');
  });

  it('takes the key that is kept in the data folder', async () => {
    const api = await openApi();
    writeFileSync(join(folder.path, 'api-key'), `${KEY}\n`);
    sluice(['listen', '--url', `${api.url}/`]);
    await until(() => told).toContain('Listening on');
    expect(api.asked[0]).toMatchObject({ call: 'POST /v1/webhook-endpoints', key: `Bearer ${KEY}` });
  });

  it('takes the address that is kept in the data folder, but that of SLUICE_URL first', async () => {
    const kept = await openApi();
    writeFileSync(join(folder.path, 'api.url'), `${kept.url}\n`);
    writeFileSync(join(folder.path, 'api-key'), `${KEY}\n`);
    sluice(['listen']);
    await until(() => told).toContain('Listening on');
    expect(kept.asked).toHaveLength(1);
    expect(await stop()).toBe(0);

    const named = await openApi();
    const other = `slk_${'o'.repeat(22)}`;
    sluice(['listen'], { SLUICE_URL: `${named.url}/`, SLUICE_API_KEY: other, SLUICE_BOOTSTRAP_KEY: KEY });
    await until(() => told).toContain('Listening on');
    expect(named.asked[0]).toMatchObject({ key: `Bearer ${other}` });

    writeFileSync(join(folder.path, 'api.url'), 'nonsense');
    expect(await stop()).toBe(0);
    expect(await ended(['listen'])).toBe(64);
    expect(told).toContain('api.url holds no address; --url gives one.');
  });

  it('deletes its endpoint when its reader has gone, too', async () => {
    const api = await openApi();
    await listen(api);
    command?.stdout?.destroy();
    await post(api.target());
    expect(await exited(command as ChildProcess)).toBe(0);
    expect(api.asked.at(-1)?.call).toBe('DELETE /v1/webhook-endpoints/whe_1');
  });

  it('runs by npx in a checkout, where Ctrl-C reaches npm as well', async () => {
    const api = await openApi();
    await listen(api, [], ['npx', 'sluice']);
    // As a terminal does it: to the whole foreground group. npm waits and then says that it was interrupted.
    process.kill(-(command?.pid as number), 'SIGINT');
    await exited(command as ChildProcess);
    expect(api.asked.at(-1)?.call).toBe('DELETE /v1/webhook-endpoints/whe_1');
    expect(told).toContain('whe_1 is deleted');
  });

  it.each<[string, Reply, number, RegExp]>([
    [
      '401',
      [401, { code: 'unauthenticated', detail: 'A valid API key is required.' }],
      77,
      /refuses the key/,
    ],
    [
      '403',
      [403, { code: 'insufficient_scope', title: 'The API key lacks the scope.' }],
      77,
      /lacks the scope/,
    ],
    [
      'url_not_allowed',
      [422, { code: 'url_not_allowed', detail: '/url: must not point there' }],
      78,
      /127\.0\.0\.0\/8 in SLUICE_WEBHOOK_ALLOW_PRIVATE.*\n\/?.*must not point there/,
    ],
    ['422', [422, { code: 'invalid_input', detail: '/url: is too long' }], 69, /422: \/url/],
    ['503', [503, { code: 'unavailable', detail: 'The service cannot reach its store.' }], 69, /its store/],
    ['a page', [200, '<html>'], 69, /not the API of Sluice/],
    ['a page of an error', [404, '<html>'], 69, /not the API of Sluice/],
    ['something else', [200, { hello: 'world' }], 69, /not the API of Sluice/],
    ['a redirect', [302, ''], 69, /not the API of Sluice/],
  ])('says what is wrong: %s', async (_, reply, exitCode, message) => {
    const api = await openApi(reply);
    expect(await ended(['listen', '--url', api.url, '--key', KEY])).toBe(exitCode);
    expect(told).toMatch(message);
    expect(told).not.toMatch(/^ {4}at /m);
    expect(api.asked).toHaveLength(1);
  });

  it('says when its endpoint stays behind', async () => {
    const api = await openApi(undefined, [503, { code: 'unavailable', detail: 'No store.' }]);
    await listen(api);
    expect(await stop()).toBe(69);
    expect(told).toContain('whe_1 is not deleted');
  });

  it('is content with an endpoint that is gone', async () => {
    const api = await openApi(undefined, [404, { code: 'not_found', detail: 'There is no such resource.' }]);
    await listen(api);
    expect(await stop()).toBe(0);
  });

  it('says that there is no API, or no port for it', async () => {
    const gone = await openApi();
    await gone.close();
    expect(await ended(['listen', '--url', gone.url, '--key', KEY])).toBe(69);
    expect(told).toMatch(/cannot be reached \(ECONNREFUSED\)/);
    const taken = await openReceiver(answer(200));
    closers.push(taken.close);
    expect(await ended(['listen', '--key', KEY, '--port', String(taken.port)])).toBe(69);
    expect(told).toMatch(/cannot be listened on: EADDRINUSE/);
  });
});

describe('sluice', () => {
  it.each<[string, string[], number, RegExp]>([
    ['nothing', [], 64, /^Usage: sluice .*command/],
    ['an unknown command', ['listne'], 64, /unknown command 'listne'\n.*listen/],
    ['a name of JavaScript', ['constructor'], 64, /unknown command/],
    ['an unknown option', ['listen', '--loud'], 64, /--loud/],
    ['a word too many', ['listen', 'to', 'me'], 64, /too many arguments/],
    ['an option without its value', ['listen', '--url'], 64, /--url/],
    ['a URL that is none', ['listen', '--url', 'localhost:8080'], 64, /--url .*A URL such as/],
    ['a way on that is none', ['listen', '--key', KEY, '--forward', '3000'], 64, /--forward .*A URL such as/],
    ['a port that is none', ['listen', '--key', KEY, '--port', '70000'], 64, /--port .*up to 65535/],
    ['a port that is no number', ['listen', '--key', KEY, '--port', 'http'], 64, /--port .*up to 65535/],
    ['a URL with a user', ['listen', '--url', 'http://a:b@localhost:1', '--key', KEY], 64, /without user/],
    ['a URL with a query', ['listen', '--url', 'http://localhost:1/?a=b', '--key', KEY], 64, /without user/],
    [
      'an event that is none',
      ['listen', '--events', 'job.failed,job.nope'],
      64,
      /no event "job\.nope"; there are job\.succeeded, .*endpoint\.disabled/,
    ],
    ['no event', ['listen', '--key', KEY, '--events', ','], 64, /names no event; there are job\.succeeded, /],
    ['a key that is none', ['listen', '--key', 'slk_€'], 64, /--key .*A key is one word/],
    ['an empty key', ['listen', '--key', ''], 64, /--key .*A key is one word/],
    ['no key', ['listen'], 64, /no API key in .*api-key/],
    ['no value of an option', ['listen', '--key'], 64, /--key <key>' argument missing/],
  ])('is told %s', async (_, args, exitCode, message) => {
    expect(await ended(args)).toBe(exitCode);
    expect(told).toMatch(message);
    expect(printed).toBe('');
  });

  it.each<[string[], RegExp]>([
    [['--help'], /^ +listen \[options\] +receives webhooks/m],
    [['help'], /^ +listen \[options\] +receives webhooks/m],
    [['listen', '--help'], /--forward <url>/],
    [['--version'], /^\d+\.\d+\.\d+\n$/],
  ])('helps: %s', async (args, message) => {
    expect(await ended(args)).toBe(0);
    expect(printed).toMatch(message);
    expect(told).toBe('');
  });

  it('does not start in a configuration that is wrong', async () => {
    expect(await ended(['listen'], { SLUICE_NONSENSE: '1' })).toBe(78);
    expect(told).toContain('SLUICE_NONSENSE');
  });
});
