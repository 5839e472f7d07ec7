/**
 * A container engine as `docker` on the PATH reaches it: that of DOCKER_HOST, else the one of this machine.
 */

import { type CommandOptions, runCommand } from '../../deploy/run-command.js';
import { inheritedEnvironment } from '../../shared/base/config.js';
import { messageOf } from '../../shared/base/errors.js';

/** Runs `docker` with these arguments; resolves with what it wrote to its standard output, trimmed. */
export async function docker(args: readonly string[], options: CommandOptions = {}): Promise<string> {
  return (await runCommand('docker', args, { errorLines: 20, ...options })).stdout.trim();
}

/** Resolves with why no engine can be used; null when one answers. */
export async function faultOfEngine(): Promise<string | null> {
  try {
    await docker(['version'], { timeoutMs: 20_000 });
    return null;
  } catch (error) {
    return `${messageOf(error)} (DOCKER_HOST: ${inheritedEnvironment({}).DOCKER_HOST ?? 'not set'})`;
  }
}

/** Facts of an image. */
export interface ImageFacts {
  bytes: number;
  /** The layers that hold something: each its size, and what was put where. */
  layers: string[];
  /** The lines of `tar -tv` about its file system. */
  files: string[];
  config: {
    User: string;
    Entrypoint: string[];
    Labels: Record<string, string>;
    Healthcheck?: { Test: string[] };
  };
}

/** Looks into an image, by a container that is never started: some engines tell only of those which health check there is. */
export async function examineImage(image: string): Promise<ImageFacts> {
  const bytes = Number(await docker(['image', 'inspect', '--format', '{{.Size}}', image]));
  const history = await docker(['history', '--no-trunc', '--format', '{{.Size}} {{.CreatedBy}}', image]);
  const container = await docker(['create', image]);
  try {
    const config = JSON.parse(await docker(['inspect', '--format', '{{json .Config}}', container]));
    const { stdout } = await runCommand('sh', ['-c', 'docker export "$0" | tar -tv', container], {});
    return { bytes, layers: layersIn(history), files: stdout.split('\n'), config };
  } finally {
    await docker(['rm', '--volumes', container]);
  }
}

function layersIn(history: string): string[] {
  return history
    .split('\n')
    .filter((line) => !line.startsWith('0B'))
    .map((line) => line.replace('/bin/sh -c #(nop) ', '').replace(/(dir|multi|file):\w+ /, ''))
    .reverse();
}
