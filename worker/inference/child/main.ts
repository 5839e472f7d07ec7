/**
 * The child: the one process that computes, and the one that may be killed by what it computes.
 *
 *   starting -> up -> ended            starting -> refused -> ended (no allowed backend loads)
 *
 * Its parent (child-supervisor.ts) hands it its options as the only argument (JSON) and talks to it over Node's IPC channel.
 * Promises:
 *   - Calls are worked on one after the other and replied to in their order, each exactly once. Pictures are decoded before
 *     and encoded after a call's turn, so that other calls compute meanwhile.
 *   - Nothing is done beside an `exact` call. So when the child dies, that call is at fault and nothing else.
 *   - The child ends when the channel closes. It ignores the signals that a terminal sends to the whole group, because the
 *     parent finishes its work first.
 *   - Only its log goes to stdout; what tfjs prints goes to stderr.
 *   - An error that nobody expected is logged and ends the child with code 1.
 */
import { systemClock } from '../../../shared/base/clock.js';
import { messageOf } from '../../../shared/base/errors.js';
import { createLogger } from '../../../shared/base/log.js';
import { chooseBackend } from '../../backends/choose.js';
import type { ChildOptions, FromChild, InstanceResult, ToChild } from '../protocol/messages.js';
import type { DecodedInstance } from './instances.js';
import { createLoadedVersions, type LoadedVersions } from './loaded-versions.js';

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
let replying: Promise<unknown> = started;
/** The last `exact` call. */
let exactRun: Promise<unknown> = started;
/** How many calls are computed and not replied to yet. */
let unsent = 0;
process.on('message', (message) => {
  const call = message as ToChild;
  const isExact = call.type === 'run' && call.exact;
  const early = isExact ? null : exactRun.then(() => prepare(call));
  computing = computing.then(async () => {
    // Calls that have arrived are read first, so that their pictures are decoded while this one computes.
    await new Promise(setImmediate);
    if (isExact) await replying;
    await turnTo(await started, call, await early);
    if (isExact) await replying;
  });
  if (isExact) exactRun = computing;
});

/** Resolves when a backend is up; without one the process ends after the parent has been told why. */
async function start(): Promise<LoadedVersions> {
  try {
    const { backend, refused } = await chooseBackend(options.backend, options.librariesDir);
    const report = { name: backend.name, device: backend.device, refused };
    log.debug({ backend: report }, 'up');
    send({ type: 'up', report });
    return createLoadedVersions(backend, systemClock);
  } catch (error) {
    log.debug({ err: error }, 'refused');
    send({ type: 'refused', reason: messageOf(error) }, () => process.exit(1));
    return new Promise(() => undefined);
  }
}

/** Resolves with null for a call that needs no preparation, or cannot have it yet; it is then prepared in its turn. */
async function prepare(message: ToChild): Promise<DecodedInstance[] | null> {
  if (message.type !== 'run') return null;
  const versions = await started;
  const { model, version, instances, select } = message;
  return versions.prepare(model, version, instances, select).catch(() => null);
}

/** Resolves when the next call may have its turn. The reply may take longer, and keeps its place. */
async function turnTo(
  versions: LoadedVersions,
  message: ToChild,
  early: DecodedInstance[] | null,
): Promise<void> {
  const { call } = message;
  // The parent would otherwise blame the oldest pending call when this child dies.
  if (unsent > 0) send({ type: 'computing', call });
  const reply = await obey(versions, message, early).catch((error: unknown) => failed(message, error));
  unsent++;
  replying = replying
    .then(() => reply.ready)
    .catch((error: unknown) => failed(message, error).ready)
    .then((ready) => {
      unsent--;
      send(ready);
    });
}

/** A reply that may not be ready, in an object, so that waiting for the object is not waiting for the reply. */
interface PendingReply {
  ready: FromChild | Promise<FromChild>;
}

async function obey(
  versions: LoadedVersions,
  message: ToChild,
  early: DecodedInstance[] | null,
): Promise<PendingReply> {
  const { call } = message;
  switch (message.type) {
    case 'ping':
      return { ready: { type: 'pong', call } };
    case 'load':
      return {
        ready: {
          type: 'loaded',
          call,
          report: await versions.load(message.folder, message.manifest, message.found),
        },
      };
    case 'unload':
      versions.unload(message.model, message.version);
      return { ready: { type: 'unloaded', call } };
    case 'measure': {
      const { model, version } = message;
      return { ready: { type: 'measured', call, speed: await versions.measure(model, version, message) } };
    }
    case 'run': {
      const { model, version, instances, select, exact } = message;
      const decoded = early ?? (await versions.prepare(model, version, instances, select));
      const { results, computeMs } = await versions.compute(model, version, decoded, { select, exact });
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

function failed({ call, type }: ToChild, error: unknown): PendingReply & { ready: FromChild } {
  // The parent logs why a version cannot be loaded, once for all backends.
  log[type === 'load' ? 'debug' : 'warn']({ err: error, call, asked: type }, 'call failed');
  return { ready: { type: 'failed', call, message: messageOf(error) } };
}

function send(message: FromChild, sent: () => void = () => undefined): void {
  if (!process.send) throw new Error('child/main.ts is started by its supervisor, not by itself');
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
