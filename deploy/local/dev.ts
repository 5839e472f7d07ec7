/**
 * `npm run dev`: what `npm start` does, and the API and the worker start again after each save of a source file.
 *
 * TypeScript's compiler watches the sources and writes the changed files into dist; Lua scripts are copied. The compiler
 * does not check types, because that takes seconds; `npm run lint` does. Redis and all that is in it stay.
 */
import { existsSync, readFileSync, watch, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { execa } from 'execa';
import { systemClock } from '../../shared/base/clock.js';
import { messageOf } from '../../shared/base/errors.js';
import { type LauncherTerminal, runLauncher } from './run-launcher.js';

const COMPILER = ['--project', 'tsconfig.dev.json', '--watch', '--preserveWatchOutput'];
const SCRIPTS = 'shared/redis/lua';
/** A save may be several events, the first of which finds an empty file. It has ended when none came for so long. */
const SAVE_MS = 200;
/** The compiler's words when it sees a save, and when it has written the files that the save changed. */
const SAVED = /File change detected/;
const WRITTEN = /Found (\d+) errors?\. Watching/;

runLauncher((launched, terminal) => {
  const { tell, stopping } = terminal;
  let saves = 0;
  const restart = async (savedMs: number) => {
    const save = ++saves;
    await launched.restart();
    if (save === saves)
      tell(`The API and the worker run the saved sources, ${secondsSince(savedMs)} s after the save.`);
  };
  const onSaved = (savedMs: number) => {
    tell('A source file was saved: the API and the worker start again.');
    restart(savedMs).catch((error: unknown) => stopping.aborted || tell(messageOf(error)));
  };
  watchSources(terminal, onSaved);
  watchScripts(terminal, onSaved);
});

/** Copies a Lua script after each save that changes it, and calls `onCopied` with the time of the save. */
function watchScripts({ stopping }: LauncherTerminal, onCopied: (savedMs: number) => void): void {
  watch(SCRIPTS, { recursive: true, signal: stopping }, (_, name) => {
    if (!name?.endsWith('.lua')) return;
    const savedMs = systemClock.monotonic();
    const [source, copy] = [`${SCRIPTS}/${name}`, `dist/${SCRIPTS}/${name}`];
    systemClock.after(SAVE_MS, () => {
      const saved = textOf(source);
      if (saved === null || saved === textOf(copy)) return;
      writeFileSync(copy, saved);
      onCopied(savedMs);
    });
  });
}

function textOf(path: string): string | null {
  return existsSync(path) ? readFileSync(path, 'utf8') : null;
}

/** Calls `onCompiled` after each save that compiles, with the time of the save, and tells the faults of any other. */
function watchSources({ tell, stopping }: LauncherTerminal, onCompiled: (savedMs: number) => void): void {
  const compiler = execa('tsc', COMPILER, {
    preferLocal: true,
    cancelSignal: stopping,
    stdin: 'ignore',
    buffer: false,
  });
  const tellUnlessBlank = (line: string) => line.trim() && tell(line);
  let isWatching = false;
  let savedMs: number | undefined;
  let forgetResult = () => {};
  const onResult = () => {
    if (savedMs !== undefined) onCompiled(savedMs);
    savedMs = undefined;
  };
  createInterface({ input: compiler.stdout }).on('line', (line) => {
    const faults = WRITTEN.exec(line)?.[1];
    if (SAVED.test(line)) {
      forgetResult();
      savedMs ??= systemClock.monotonic();
    } else if (faults === undefined) tellUnlessBlank(line);
    else if (!isWatching) {
      isWatching = true;
      tell('\nThe sources are watched. A save starts the API and the worker again; Redis stays.');
    } else if (faults === '0') forgetResult = systemClock.after(SAVE_MS, onResult);
  });
  compiler.catch((error: unknown) => stopping.aborted || tell(`Saves go unseen now: ${messageOf(error)}`));
}

function secondsSince(startedMs: number): string {
  return ((systemClock.monotonic() - startedMs) / 1000).toFixed(1);
}
