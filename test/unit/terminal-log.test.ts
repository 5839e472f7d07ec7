import { EventEmitter } from 'node:events';
import { expect, it } from 'vitest';
import { createLogger } from '../../shared/base/log.js';
import { readableLine, terminalStream } from '../../shared/base/terminal-log.js';

const written: string[] = [];
const streamOf = (isTTY: boolean) =>
  Object.assign(new EventEmitter(), {
    isTTY,
    write: (text: string) => written.push(text),
  }) as unknown as NodeJS.WriteStream;

it('writes lines for people to a terminal, and hides there what it hides elsewhere', () => {
  const log = createLogger('api', 'info', terminalStream(streamOf(true)) ?? undefined);
  log.warn({ port: 1, why: 'listen EADDRINUSE', roles: ['a'], password: 'hidden' }, 'metrics are not served');
  log.error({ err: new Error('no Redis') }, 'cannot start');
  log.debug('unseen');
  const [first = '', second = '', ...others] = written;
  expect(first).toMatch(
    /^\d\d:\d\d:\d\d WARN {2}api metrics are not served port=1 why="listen EADDRINUSE" roles=\["a"\] password=\[redacted\]\n$/,
  );
  expect(second).toMatch(
    /^\d\d:\d\d:\d\d ERROR api cannot start\n {2}Error: no Redis\n {2} +at .*terminal-log\.test/,
  );
  expect(others).toEqual([]);
});

it('leaves pipes and files to programs', () => {
  expect(terminalStream(streamOf(false))).toBeNull();
});

it('outlives a terminal that was closed', () => {
  const out = streamOf(true);
  terminalStream(out);
  expect(() => out.emit('error', new Error('EIO'))).not.toThrow();
});

it('shows an error without a stack, and one that is none', () => {
  const line = { level: 60, time: 0, msg: 'cannot start' };
  expect(readableLine(JSON.stringify({ ...line, err: { type: 'Refusal', message: 'no' } }))).toMatch(
    /FATAL cannot start\n {2}no$/,
  );
  expect(readableLine(JSON.stringify({ ...line, err: 'text' }))).toMatch(/FATAL cannot start\n {2}text$/);
});
