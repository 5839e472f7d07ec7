/**
 * The child: the one process that computes, and the one that may be killed by what it computes.
 *
 *   starting -> up -> ended            starting -> refused -> ended (no allowed backend loads)
 *
 * Its parent (child-supervisor.ts) hands it its options as the only argument (JSON) and talks to it over Node's IPC channel.
 * Promises: messages are dealt with one after the other and answered in the order they came, each exactly once, though
 * pictures are decoded before and encoded after a call's turn, unless that is `exact`: what it dies of then was nothing
 * else; it ends when the channel closes and at no signal that a terminal sends to the whole group (the parent finishes
 * its work first); nothing but its log goes to stdout, what tfjs prints goes to stderr; an error nobody expected ends it,
 * told, with code 1.
 */
import { systemClock } from '../../../shared/base/clock.js';
import { messageOf } from '../../../shared/base/errors.js';
import { createLogger } from '../../../shared/base/log.js';
import { chooseBackend } from '../../backends/choose.js';
import type { ChildOptions, FromChild, InstanceResult, ToChild } from '../protocol/messages.js';
import { createVersions, type Decoded, type Versions } from './loaded-versions.js';

const options = JSON.parse(process.argv[2] ?? '{}') as ChildOptions;
const log = createLogger('child', options.logLevel);

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined);
process.on('disconnect', () => process.exit(0));
if (!process.connected) process.exit(0);
process.on('uncaughtException', (error) => crash('uncaught exception', error));
process.on('unhandledRejection', (error) => crash('unhandled rejection', error));
console.log = console.info = console.debug = console.error;

const started = start();
let computing: Promise<unknown> = started;
let answering: Promise<unknown> = started;
/** The last call that nothing else is done beside. */
let alone: Promise<unknown> = started;
/** Calls that are computed and not answered yet. */
let unanswered = 0;
process.on('message', (message) => {
  const asked = message as ToChild;
  const isAlone = asked.type === 'run' && asked.exact;
  const early = isAlone ? null : alone.then(() => prepare(asked));
  computing = computing.then(async () => {
    // What has arrived meanwhile is read before, so that its pictures are decoded while this one computes.
    await new Promise(setImmediate);
    if (isAlone) await answering;
    await turnTo(await started, asked, await early);
    if (isAlone) await answering;
  });
  if (isAlone) alone = computing;
});

/** Resolves when a backend is up; without one the process ends after the parent has been told why. */
async function start(): Promise<Versions> {
  try {
    const { backend, refused } = await chooseBackend(options.backend, options.cacheDir);
    const report = { name: backend.name, device: backend.device, refused };
    log.debug({ backend: report }, 'up');
    send({ type: 'up', report });
    return createVersions(backend, systemClock);
  } catch (error) {
    log.debug({ err: error }, 'refused');
    send({ type: 'refused', reason: messageOf(error) }, () => process.exit(1));
    return new Promise(() => undefined);
  }
}

/** Null for what needs no preparation, or cannot have it yet; then it is made in its turn. */
async function prepare(message: ToChild): Promise<Decoded[] | null> {
  if (message.type !== 'run') return null;
  const versions = await started;
  return versions.prepare(message.model, message.version, message.instances).catch(() => null);
}

/** Resolves when the next call may have its turn; the answer may take longer, and keeps its place. */
async function turnTo(versions: Versions, message: ToChild, early: Decoded[] | null): Promise<void> {
  const { call } = message;
  // Whoever has to know of what a child dies would take the oldest call without an answer for it.
  if (unanswered > 0) send({ type: 'computing', call });
  const answer = await obey(versions, message, early).catch((error: unknown) => failed(message, error));
  unanswered++;
  answering = answering
    .then(() => answer.ready)
    .catch((error: unknown) => failed(message, error).ready)
    .then((ready) => {
      unanswered--;
      send(ready);
    });
}

/** An answer that may not be ready, in an object, so that waiting for the one is not waiting for the other. */
interface Answer {
  ready: FromChild | Promise<FromChild>;
}

async function obey(versions: Versions, message: ToChild, early: Decoded[] | null): Promise<Answer> {
  const { call } = message;
  switch (message.type) {
    case 'ping':
      return { ready: { type: 'pong', call } };
    case 'load':
      return {
        ready: { type: 'loaded', call, report: await versions.load(message.folder, message.manifest) },
      };
    case 'unload':
      versions.unload(message.model, message.version);
      return { ready: { type: 'unloaded', call } };
    case 'measure': {
      const { model, version, batchSize, budgetMs } = message;
      return {
        ready: { type: 'measured', call, speed: await versions.measure(model, version, batchSize, budgetMs) },
      };
    }
    case 'run': {
      const { model, version, instances, exact } = message;
      const decoded = early ?? (await versions.prepare(model, version, instances));
      const { results, computeMs } = await versions.compute(model, version, decoded, { exact });
      const ran = (each: InstanceResult[]): FromChild => ({
        type: 'ran',
        call,
        results: each,
        computeMs,
        rssBytes: process.memoryUsage.rss(),
      });
      return { ready: results.then(ran) };
    }
  }
}

function failed({ call, type }: ToChild, error: unknown): Answer & { ready: FromChild } {
  // Why a version cannot be loaded is told by whoever asked, once for all backends.
  log[type === 'load' ? 'debug' : 'warn']({ err: error, call, asked: type }, 'call failed');
  return { ready: { type: 'failed', call, message: messageOf(error) } };
}

function send(message: FromChild, sent: () => void = () => undefined): void {
  if (!process.send) throw new Error('child/main.ts is started by its keeper, not by itself');
  process.send(message, undefined, undefined, (error: Error | null) => {
    // The channel is gone: `disconnect` follows and ends the process.
    if (error) log.debug({ err: error }, 'answer not delivered');
    sent();
  });
}

function crash(what: string, error: unknown): never {
  log.fatal({ err: error }, what);
  process.exit(1);
}
