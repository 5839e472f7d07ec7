#!/usr/bin/env node
/**
 * `sluice <command>`: what one does with Sluice from a terminal, over its API alone.
 *
 * Exit codes: 0 done, 64 called wrongly, 69 the API cannot be reached or does not do it, 77 it refuses the key, 78 it, or
 * this command, is configured so that it cannot be done.
 */
import { ConfigError } from '../../shared/base/config.js';
import { VERSION } from '../../shared/base/version.js';
import { type Command, EXIT, Failure, type Terminal } from './command.js';
import { listen } from './listen.js';

const COMMANDS: Readonly<Record<string, Command>> = { listen };

const HELP = `sluice <command> [options]

${Object.entries(COMMANDS)
  .map(([name, { summary }]) => `  ${name.padEnd(10)}${summary}`)
  .join('\n')}

sluice <command> --help tells more; sluice --version tells the version.`;

const stopping = new AbortController();
const terminal: Terminal = {
  print: (line) => void process.stdout.write(`${line}\n`),
  tell: (line) => void process.stderr.write(`${line}\n`),
  stopped: stopping.signal,
};

async function main([name = '', ...args]: string[]): Promise<number> {
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (command) {
    if (!args.includes('--help') && !args.includes('-h')) return command.run(args, terminal);
    terminal.print(command.usage);
    return EXIT.done;
  }
  if (name === '--version') {
    terminal.print(VERSION);
    return EXIT.done;
  }
  if (['help', '--help', '-h'].includes(name)) {
    terminal.print(HELP);
    return EXIT.done;
  }
  throw new Failure(EXIT.usage, `${name && `There is no command ${JSON.stringify(name)}.\n\n`}${HELP}`);
}

/** Wrong options are the parser's own errors. */
function exitCodeOf(error: unknown): number | null {
  if (error instanceof Failure || error instanceof ConfigError) return error.exitCode;
  const { code } = error as NodeJS.ErrnoException;
  return code?.startsWith('ERR_PARSE_ARGS') ? EXIT.usage : null;
}

// What npm passes on comes twice; once stopping, a command ends by itself within its own bounds.
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(name, () => stopping.abort());
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => stopping.abort());

main(process.argv.slice(2)).then(
  (code) => process.exit(code),
  (error: unknown) => {
    const code = exitCodeOf(error);
    terminal.tell(code === null ? String((error as Error)?.stack ?? error) : (error as Error).message);
    process.exit(code ?? 1);
  },
);
