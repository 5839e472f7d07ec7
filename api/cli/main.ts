/**
 * `sluice <command>`: work with Sluice from a terminal, over its API alone.
 *
 * Exit codes: 0 done; 64 the call is wrong; 69 the API cannot be reached or does not do it; 77 the API refuses the key;
 * 78 a configuration, the API's or the command's own, does not allow it.
 */
import { Command, CommanderError } from 'commander';
import { ConfigError } from '../../shared/base/config.js';
import { VERSION } from '../../shared/base/version.js';
import { addListenCommand } from './listen.js';
import { EXIT, Failure, type Terminal } from './terminal.js';

const stopping = new AbortController();
const terminal: Terminal = {
  print: (line) => void process.stdout.write(`${line}\n`),
  tell: (line) => void process.stderr.write(`${line}\n`),
  stopped: stopping.signal,
};

/** Returns the exit code of an error, after telling of it. */
function exitCodeOf(error: unknown): number {
  // Commander has told of its own errors; its help and its version end a command as errors do.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT.usage;
  const isExpected = error instanceof Failure || error instanceof ConfigError;
  terminal.tell(isExpected ? error.message : String((error as Error)?.stack ?? error));
  return isExpected ? error.exitCode : 1;
}

// npm passes a signal on that the terminal has sent to everyone, so each may come twice.
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(name, () => stopping.abort());
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => stopping.abort());

const program = new Command('sluice')
  .description('Works with Sluice from a terminal, over its API.')
  .version(VERSION, '--version', 'prints the version')
  .exitOverride();
addListenCommand(program, terminal);
program.parseAsync().then(
  () => process.exit(0),
  (error: unknown) => process.exit(exitCodeOf(error)),
);
