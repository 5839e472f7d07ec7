/**
 * The child: the one process that computes, and the one that may be killed by what it computes.
 *
 *   starting -> up -> ended            starting -> refused -> ended (no allowed backend loads)
 *
 * Its parent (executor.ts) hands it its options as the only argument (JSON) and talks to it over Node's IPC channel.
 * Promises: messages are answered one after the other in the order they came, each exactly once; it ends when the channel
 * closes and at no signal that a terminal sends to the whole group (the parent finishes its work first); nothing but its
 * log goes to stdout, what tfjs prints goes to stderr; an error nobody expected ends it, told, with code 1.
 */
import { systemClock } from '../../shared/base/clock.js';
import { messageOf } from '../../shared/base/errors.js';
import { createLogger } from '../../shared/base/telemetry.js';
import { chooseBackend } from '../backend/choose.js';
import { createVersions, type Versions } from './instances.js';
import type { ChildOptions, FromChild, ToChild } from './messages.js';

const options = JSON.parse(process.argv[2] ?? '{}') as ChildOptions;
const log = createLogger('child', options.logLevel);

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined);
process.on('disconnect', () => process.exit(0));
if (!process.connected) process.exit(0);
process.on('uncaughtException', (error) => crash('uncaught exception', error));
process.on('unhandledRejection', (error) => crash('unhandled rejection', error));
console.log = console.info = console.debug = console.error;

const started = start();
let last: Promise<unknown> = started;
process.on('message', (message) => {
  last = last.then(async () => answer(await started, message as ToChild));
});

/** Resolves when a backend is up; without one the process ends after the parent has been told why. */
async function start(): Promise<Versions> {
  try {
    const { backend, refused } = await chooseBackend(options.backend, options.cacheDir);
    const report = { name: backend.name, device: backend.device, refused };
    log.debug({ backend: report }, 'up');
    send({ type: 'up', backend: report });
    return createVersions(backend, systemClock);
  } catch (error) {
    log.debug({ err: error }, 'refused');
    send({ type: 'refused', reason: messageOf(error) }, () => process.exit(1));
    return new Promise(() => undefined);
  }
}

async function answer(versions: Versions, message: ToChild): Promise<void> {
  const { call } = message;
  try {
    send(await obey(versions, message));
  } catch (error) {
    log.warn({ err: error, call, asked: message.type }, 'call failed');
    send({ type: 'failed', call, message: messageOf(error) });
  }
}

async function obey(versions: Versions, message: ToChild): Promise<FromChild> {
  const { call } = message;
  switch (message.type) {
    case 'load':
      return { type: 'loaded', call, report: await versions.load(message.folder, message.manifest) };
    case 'unload':
      versions.unload(message.model, message.version);
      return { type: 'unloaded', call };
    case 'measure': {
      const { model, version, batchSize, budgetMs } = message;
      return { type: 'measured', call, speed: await versions.measure(model, version, batchSize, budgetMs) };
    }
    case 'run':
      return {
        type: 'ran',
        call,
        ...(await versions.run(message.model, message.version, message.instances)),
      };
  }
}

function send(message: FromChild, sent: () => void = () => undefined): void {
  if (!process.send) throw new Error('child.ts is started by the executor, not by itself');
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
