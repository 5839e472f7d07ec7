#!/usr/bin/env node
/**
 * The command `sluice` as npm links it.
 *
 * The command itself is compiled. npm links only a file that is there when it looks first, and remembers what it found; so this
 * file is no compiled one, and builds what is missing. Standard output stays free for what the command prints.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** sysexits(3) EX_UNAVAILABLE: something that the command needs is not there. */
const EXIT_UNAVAILABLE = 69;
/** The command, and the folder that a build writes last: another build may be under way. */
const BUILT = ['dist/api/cli/main.js', 'dist/shared/redis/lua'];

const root = fileURLToPath(new URL('../../', import.meta.url));
const isThere = (path) => existsSync(root + path);
const fail = (reason) => {
  process.stderr.write(`${reason}\n`);
  process.exit(EXIT_UNAVAILABLE);
};

if (!isThere('node_modules')) fail(`Sluice is not installed. Run \`npm ci\` in ${root} first.`);
if (!BUILT.every(isThere)) {
  process.stderr.write('Building Sluice, once …\n');
  spawnSync('npm', ['run', 'build', '--silent'], { cwd: root, stdio: ['ignore', 2, 2] });
  if (!BUILT.every(isThere)) fail(`Sluice cannot be built. Run \`npm ci && npm run build\` in ${root}.`);
}
await import('../../dist/api/cli/main.js');
