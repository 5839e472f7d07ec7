/** Tools that an install needs and does not bring. They are checked before anything is fetched, and all at once. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ConfigError } from '../../shared/base/config.js';
import { runCommand } from '../run-command.js';

interface Tool {
  name: string;
  purpose: string;
  /** Package of Debian and Ubuntu. */
  package: string;
  isHere: (signal: AbortSignal) => Promise<boolean>;
}

const TOOLS: readonly Tool[] = [
  {
    name: 'python3',
    purpose: 'unpacks the wheels and runs pip',
    package: 'python3',
    isHere: (signal) => runs('python3', ['--version'], signal),
  },
  {
    name: 'pip (python3 -m pip)',
    purpose: 'fetches the wheels',
    package: 'python3-pip',
    isHere: (signal) => runs('python3', ['-m', 'pip', '--version'], signal),
  },
  {
    name: 'g++',
    purpose: 'builds the binding; the strip that comes with it makes the libraries smaller',
    package: 'g++',
    isHere: (signal) => runs('g++', ['--version'], signal),
  },
  {
    name: "Node's headers (node_api.h)",
    purpose: 'the binding is built with them; Node from nodejs.org, nvm or a Docker image has them',
    package: 'libnode-dev',
    isHere: async () => nodeHeaders() !== null,
  },
];

/** @throws {ConfigError} that names every missing tool, and the command that installs them on Debian and Ubuntu */
export async function requireTools(signal: AbortSignal): Promise<void> {
  requirePlatform();
  const missing: Tool[] = [];
  for (const tool of TOOLS) if (!(await tool.isHere(signal))) missing.push(tool);
  if (missing.length === 0) return;
  const lines = missing.map((tool) => `  ${tool.name}: ${tool.purpose}`);
  const packages = missing.map((tool) => tool.package).join(' ');
  throw new ConfigError(
    `Missing on this machine:\n${lines.join('\n')}\nOn Debian or Ubuntu: sudo apt-get install -y ${packages}`,
  );
}

/** Returns the folder of node_api.h, the running Node's or else the system's. N-API is stable, so any version will do. */
export function nodeHeaders(): string | null {
  const own = join(dirname(dirname(process.execPath)), 'include', 'node');
  const folders = [own, '/usr/include/node', '/usr/include/nodejs/src'];
  return folders.find((folder) => existsSync(join(folder, 'node_api.h'))) ?? null;
}

function requirePlatform(): void {
  if (process.platform !== 'linux' || process.arch !== 'x64')
    throw new ConfigError(
      `TensorFlow is installed on Linux x64 only; this is ${process.platform} ${process.arch}. The wasm backend runs here.`,
    );
  requireGlibc('TensorFlow');
}

/** @throws {ConfigError} on a Linux whose C library is another than glibc, for which `library` is not made */
export function requireGlibc(library: string): void {
  if (process.platform !== 'linux') return;
  const report = process.report.getReport() as { header?: { glibcVersionRuntime?: string } };
  if (!report.header?.glibcVersionRuntime)
    throw new ConfigError(
      `${library} needs glibc (Debian, Ubuntu, Fedora …); this system has another C library.`,
    );
}

async function runs(program: string, args: readonly string[], signal: AbortSignal): Promise<boolean> {
  try {
    await runCommand(program, args, { signal });
    return true;
  } catch (error) {
    if (signal.aborted) throw error;
    return false;
  }
}
