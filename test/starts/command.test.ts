/**
 * `npx sluice` in a copy of the sources that nobody has built: npx links what it finds then, and never looks again.
 */
import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, expect, it } from 'vitest';
import { ROOT } from '../support/stack.js';
import { temporaryFolder } from '../support/started-redis.js';

const folder = temporaryFolder();
afterAll(() => folder.remove());
const copy = join(folder.path, 'copy');
const home = join(folder.path, 'home');

function run(command: string, ...args: string[]): Promise<{ code?: number; stdout: string; stderr: string }> {
  // npm and npx remember things below HOME, and a test under npm would hand on its own settings.
  const inherited = Object.entries(process.env).filter(([name]) => !/^npm_/i.test(name));
  const env = { ...Object.fromEntries(inherited), HOME: home, npm_config_update_notifier: 'false' };
  return promisify(execFile)(command, args, { cwd: copy, env }).catch((error) => error);
}

it('works before the first build and after it, and says what is missing', async () => {
  mkdirSync(home);
  for (const name of [
    'api',
    'worker',
    'shared',
    'deploy',
    'package.json',
    '.npmrc',
    'tsconfig.json',
    'tsconfig.build.json',
  ])
    cpSync(join(ROOT, name), join(copy, name), { recursive: true });
  expect(await run('node', 'api/cli/sluice.js')).toMatchObject({
    code: 69,
    stdout: '',
    stderr: `Sluice is not installed. Run \`npm ci\` in ${copy}/ first.\n`,
  });

  symlinkSync(join(ROOT, 'node_modules'), join(copy, 'node_modules'));
  const first = await run('npx', 'sluice', '--help');
  expect(first).toMatchObject({
    stdout: expect.stringMatching(/^Usage: sluice /),
    stderr: 'Building Sluice, once …\n',
  });
  const second = await run('npx', 'sluice', '--help');
  expect(second).toMatchObject({ stdout: first.stdout, stderr: '' });
  expect(await run('npx', 'sluice', 'lisen')).toMatchObject({
    code: 64,
    stderr: expect.stringContaining('listen'),
  });

  rmSync(join(copy, 'dist'), { recursive: true });
  rmSync(join(copy, 'tsconfig.build.json'));
  const unbuilt = await run('npx', 'sluice', '--help');
  expect(unbuilt).toMatchObject({ code: 69, stdout: '' });
  expect(unbuilt.stderr).toContain(`Sluice cannot be built. Run \`npm ci && npm run build\` in ${copy}/.`);
});
