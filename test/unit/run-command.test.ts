/** Running other programs: their output, and the sentence that each way to fail leaves. */
import { expect, it } from 'vitest';
import { CommandError, runCommand } from '../../deploy/run-command.js';

const node = (script: string, options: Parameters<typeof runCommand>[2] = {}) =>
  runCommand(process.execPath, ['-e', script], options);
const failure = (run: Promise<unknown>): Promise<CommandError> =>
  run.then(
    () => expect.fail('it succeeded'),
    (error: unknown) => error as CommandError,
  );

it('resolves to the output, which is in one language', async () => {
  const script = 'console.log(process.env.LC_ALL, process.env.PLACE); console.error("done")';
  const output = await node(script, { environment: { PLACE: 'here' } });
  expect(output).toEqual({ stdout: 'C here', stderr: 'done' });
});

it("repeats a program's last words", async () => {
  const script =
    '"one two three four".split(" ").forEach((word) => console.error(word + "\\n")); process.exit(3)';
  expect(await failure(node(script))).toMatchObject({ message: 'node: two\nthree\nfour', missing: false });
  expect(await failure(node(script, { errorLines: 1 }))).toMatchObject({ message: 'node: four' });
  expect((await failure(node('process.exit(3)'))).message).toMatch(/^node: .*exit code 3/);
});

it('tells a missing program from one that fails', async () => {
  const error = await failure(runCommand('no-such-program', [], {}));
  expect(error).toBeInstanceOf(CommandError);
  expect(error.missing).toBe(true);
});

it('ends a program that takes too long, and one that is stopped', async () => {
  const forever = 'setInterval(() => {}, 1000)';
  expect((await failure(node(forever, { timeoutMs: 100 }))).message).toBe('node: took longer than 0.1 s');
  expect((await failure(node(forever, { signal: AbortSignal.abort() }))).message).toBe('node: was stopped');
});
