/**
 * The programs that tests start and that are tests' own (`fake-child.ts`, `blob-put.ts`, the benches): compiled into
 * `.build` before the first test, so that none of them is older than its source.
 */
import { execFileSync } from 'node:child_process';
import { ROOT } from './stack.js';

export function setup(): void {
  execFileSync('npm', ['run', '--silent', 'build:test'], { cwd: ROOT, stdio: 'inherit' });
}
