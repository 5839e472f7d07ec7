/**
 * Redis from the packages of Debian or Ubuntu, without installing anything: no root, no service, no trace outside the
 * cache folder.
 *
 * apt resolves which packages this system lacks, downloads them and checks their signatures, as it does to install them;
 * here they are only unpacked. All work is done in a temporary folder that is renamed at the end, so a broken download
 * leaves nothing behind, and two launchers at once do not disturb each other.
 */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf } from '../../../shared/base/errors.js';
import { CommandError, runCommand } from '../../run-command.js';
import {
  checkedVersion,
  type FindOptions,
  nativeProgram,
  osRelease,
  type RedisProgram,
} from './redis-program.js';

const APT_TIMEOUT_MS = 120_000;
const TOOL_TIMEOUT_MS = 5000;

/** Resolves to the Redis in the cache folder, fetched once; rejects without apt, or when it cannot be fetched. */
export async function packagedRedis(options: FindOptions): Promise<RedisProgram> {
  const release = osRelease();
  const folder = join(
    options.cacheDir,
    `redis-${release.ID ?? 'debian'}${release.VERSION_ID ?? ''}-${process.arch}`,
  );
  const present = await unpackedProgram(folder).catch(() => null);
  if (present) return present;

  await checkTools(options.signal);
  options.tell('Fetching the redis-server package, once …');
  try {
    await fetchTo(folder, options);
  } catch (error) {
    throw new Error(`the redis-server package could not be fetched: ${messageOf(error)}`);
  }
  return unpackedProgram(folder);
}

async function checkTools(signal: AbortSignal | undefined): Promise<void> {
  for (const tool of ['apt-get', 'dpkg'])
    await runCommand(tool, ['--version'], { timeoutMs: TOOL_TIMEOUT_MS, signal }).catch((error) => {
      if (error instanceof CommandError && error.missing)
        throw new Error(`${tool} is not on the PATH to fetch the redis-server package with`);
      throw error;
    });
}

async function fetchTo(folder: string, options: FindOptions): Promise<void> {
  const work = workFolder(options.cacheDir);
  try {
    await fetchInto(work, options.signal);
    await unpackedProgram(join(work, 'root'));
    // Another launcher may have finished first, and its folder serves both. A broken folder makes way.
    if (takesPlace(join(work, 'root'), folder)) return;
    if (await unpackedProgram(folder).catch(() => null)) return;
    renameSync(folder, join(work, 'replaced'));
    renameSync(join(work, 'root'), folder);
  } finally {
    // A program that was just stopped may still write, hence the retries.
    rmSync(work, { recursive: true, force: true, maxRetries: 5 });
  }
}

function workFolder(cacheDir: string): string {
  try {
    mkdirSync(cacheDir, { recursive: true });
    return mkdtempSync(join(cacheDir, 'redis-fetching-'));
  } catch (error) {
    throw new Error(
      `the folder ${cacheDir} cannot be written (${messageOf(error)}), and SLUICE_CACHE_DIR names no other`,
    );
  }
}

/** Renames `from` to `to` unless something is there. It is one step, so one of two launchers comes first. */
function takesPlace(from: string, to: string): boolean {
  try {
    renameSync(from, to);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ENOTEMPTY' && code !== 'EEXIST') throw error;
    return false;
  }
}

/** Resolves to the unpacked server; rejects when it does not run with the libraries unpacked beside it. */
async function unpackedProgram(root: string): Promise<RedisProgram> {
  const server = join(root, 'usr/bin/redis-server');
  const environment = { LD_LIBRARY_PATH: libraryFolders(root).join(':') };
  return nativeProgram(
    server,
    await checkedVersion(server, environment),
    'from the redis-server package',
    environment,
  );
}

function libraryFolders(root: string): string[] {
  return ['usr/lib', 'lib'].flatMap((name) => {
    const parent = join(root, name);
    if (!existsSync(parent)) return [];
    const triplets = readdirSync(parent).filter((entry) => entry.includes('-linux-gnu'));
    return triplets.map((triplet) => join(parent, triplet));
  });
}

async function fetchInto(work: string, signal: AbortSignal | undefined): Promise<void> {
  const apt = createApt(work, signal);
  try {
    await apt.download();
  } catch {
    // Images and fresh machines have no package lists, and old lists name files that are gone.
    await apt.updateOwnLists();
    // apt counts lists that it could not fetch as a success.
    await apt.download().catch((error) => {
      throw new Error(`${messageOf(error)} (with package lists just fetched: is there a network?)`);
    });
  }
  const root = join(work, 'root');
  for (const file of readdirSync(join(work, 'packages')).filter((name) => name.endsWith('.deb')))
    await runCommand('dpkg', ['-x', join(work, 'packages', file), root], {
      timeoutMs: APT_TIMEOUT_MS,
      signal,
    });
}

function createApt(work: string, signal: AbortSignal | undefined) {
  const packages = join(work, 'packages');
  for (const name of ['packages', 'state/lists/partial', 'cache/archives/partial'])
    mkdirSync(join(work, name), { recursive: true });
  const configuration = join(work, 'apt.conf');
  writeFileSync(configuration, aptConfiguration(work, false));
  const apt = (...args: string[]) =>
    runCommand('apt-get', ['-c', configuration, ...args], {
      cwd: packages,
      timeoutMs: APT_TIMEOUT_MS,
      signal,
    });

  return {
    async download(): Promise<void> {
      const plan = await apt('--simulate', '--no-install-recommends', 'install', 'redis-server');
      await apt('download', ...packagesToUnpack(plan.stdout));
    },
    async updateOwnLists(): Promise<void> {
      writeFileSync(configuration, aptConfiguration(work, true));
      await apt('update');
    },
  };
}

/** apt reads this after the system's own configuration, whose sources, keys and proxies stay in force. */
function aptConfiguration(work: string, ownLists: boolean): string {
  return [
    `Dir::Cache "${work}/cache/";`,
    ...(ownLists ? [`Dir::State "${work}/state/";`, `Dir::State::lists "${work}/state/lists/";`] : []),
    'Dir::State::status "/var/lib/dpkg/status";',
    // As root, apt would download as a user that cannot write here.
    'APT::Sandbox::User "root";',
    'Acquire::Languages "none";',
    'Acquire::Retries "2";',
    'Acquire::http::Timeout "20";',
    'Acquire::https::Timeout "20";',
    // Hooks of the system are meant for real updates, and this is none.
    '#clear APT::Update::Pre-Invoke;',
    '#clear APT::Update::Post-Invoke;',
    '#clear APT::Update::Post-Invoke-Success;',
    '',
  ].join('\n');
}

/**
 * Returns the packages to unpack, from apt's plan of an installation. redis-server is a link into redis-tools; the other
 * packages of use are libraries, except the C library, which must be the system's own.
 */
export function packagesToUnpack(plan: string): string[] {
  const missing = [...plan.matchAll(/^Inst (\S+)/gm)].map(([, name]) => name as string);
  const libraries = missing.filter((name) => name.startsWith('lib') && !/^libc(6|-)/.test(name));
  return ['redis-server', 'redis-tools', ...libraries];
}
