/**
 * `node dist/deploy/images/assemble.js api|worker|installer FOLDER`: copies into a folder what a process of an image needs,
 * from a tree that was built. The same tree gives the same bytes.
 *
 * Our own code is followed from the programs on, import by import. A package comes with all that it declares to depend on.
 * `sbom.cdx.json` lists the packages taken.
 */
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ConfigError } from '../../shared/base/config.js';
import { messageOf } from '../../shared/base/errors.js';
import { runCommand } from '../run-command.js';
import { packagesWith } from './packages.js';

interface Contents {
  programs: readonly string[];
  /** Packages that are loaded by a name which no import shows. */
  packages: readonly string[];
  /** Files that our code reads and does not import. */
  data: readonly string[];
}

const HEALTH = 'dist/deploy/images/check-health.js';
const DATA = ['dist/shared/redis/lua', 'dist/shared/model-packages/saved-model/operations.tsv'];
const CONTENTS: Readonly<Record<string, Contents>> = {
  api: { programs: ['dist/api/main.js', HEALTH], packages: [], data: DATA },
  worker: {
    programs: ['dist/worker/main.js', 'dist/worker/inference/child/main.js', HEALTH],
    packages: ['@tensorflow/tfjs-backend-wasm', '@tensorflow/tfjs-node-gpu', '@tensorflow/tfjs'],
    data: DATA,
  },
  installer: { programs: ['dist/deploy/native/install.js'], packages: [], data: [] },
};

const IMPORTED = /(?:\bfrom |\bimport |\bimport\(|\brequirePackage\()'([^']+)'/g;
const NAME = /^(?:@[^/]+\/)?[^/]+/;

async function assemble(name: string, contents: Contents, folder: string): Promise<void> {
  const { programs, packages, data } = contents;
  const own = new Set<string>();
  const names = new Set(packages);
  for (const program of programs) follow(program, own, names);
  const taken = packagesWith([...names]);
  for (const path of [...own, ...data, ...taken, 'package.json'])
    cpSync(path, join(folder, path), {
      recursive: true,
      dereference: true,
      // A package inside a package is taken by itself, or not.
      filter: (source) => !source.slice(path.length).includes('node_modules'),
    });
  const sbom = await sbomOf(`sluice-${name}`, taken);
  writeFileSync(join(folder, 'sbom.cdx.json'), `${JSON.stringify(sbom, null, 1)}\n`);
}

/** Adds a file of ours and those that it imports to `own`, and the packages that they import to `names`. */
function follow(file: string, own: Set<string>, names: Set<string>): void {
  if (own.has(file)) return;
  own.add(file);
  for (const [, imported = ''] of readFileSync(file, 'utf8').matchAll(IMPORTED)) {
    if (imported.startsWith('.')) follow(join(dirname(file), imported), own, names);
    else if (!imported.startsWith('node:')) names.add(NAME.exec(imported)?.[0] ?? imported);
  }
}

interface Sbom {
  serialNumber?: string;
  metadata: { timestamp?: string; component: { 'bom-ref': string; name: string } };
  components: { 'bom-ref': string }[];
  dependencies: { ref: string; dependsOn: string[] }[];
}

/**
 * Returns npm's list of packages in CycloneDX, without those that are not among the `taken` paths.
 * @throws Error when npm does not list one of them
 */
async function sbomOf(name: string, taken: readonly string[]): Promise<Sbom> {
  // With --omit=dev npm 11 leaves out what a package of development needs, too.
  const args = ['sbom', '--package-lock-only', '--sbom-format=cyclonedx', '--sbom-type=application'];
  const { stdout } = await runCommand('npm', args, {});
  const { serialNumber: _, metadata, components, dependencies, ...about } = JSON.parse(stdout) as Sbom;
  const { timestamp: __, ...made } = metadata;
  const refs = new Set([metadata.component['bom-ref'], ...taken.map(refOf)]);
  const missing = [...refs].filter((ref) => !dependencies.some((each) => each.ref === ref));
  if (missing.length > 0) throw new Error(`npm does not list ${missing.join(', ')}.`);
  return {
    ...about,
    // npm would name it after the folder.
    metadata: { ...made, component: { ...metadata.component, name } },
    components: components.filter((each) => refs.has(each['bom-ref'])),
    dependencies: dependencies
      .filter(({ ref }) => refs.has(ref))
      .map(({ ref, dependsOn }) => ({ ref, dependsOn: dependsOn.filter((each) => refs.has(each)) })),
  };
}

/** Returns the name by which npm's list refers to the package in a folder. */
function refOf(path: string): string {
  const { name, version } = JSON.parse(readFileSync(join(path, 'package.json'), 'utf8'));
  return `${name}@${version}`;
}

async function main(): Promise<void> {
  const [, , name = '', folder, ...rest] = process.argv;
  const contents = Object.hasOwn(CONTENTS, name) ? CONTENTS[name] : undefined;
  if (!contents || !folder || rest.length > 0)
    throw new ConfigError(`Usage: assemble.js ${Object.keys(CONTENTS).join('|')} FOLDER`);
  await assemble(name, contents, folder);
}

main().catch((error: unknown) => {
  console.error(messageOf(error));
  process.exitCode = error instanceof ConfigError ? error.exitCode : 1;
});
