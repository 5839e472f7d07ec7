/**
 * The GPUs that this process may use, and the one that each of its children is given.
 */
import { readdirSync } from 'node:fs';
import { inheritedEnvironment } from '../../shared/base/config.js';

/** Returns the GPUs that this process may use, as the CUDA_VISIBLE_DEVICES of a child would name them. */
export function findGpus(): string[] {
  return visibleGpus(readdirSync('/dev'), inheritedEnvironment({}).CUDA_VISIBLE_DEVICES);
}

/**
 * Returns the GPUs that CUDA would use.
 *
 * @param devices names of the files in /dev; CUDA numbers the GPUs among them from 0, whatever their files are called
 * @param listed CUDA_VISIBLE_DEVICES; CUDA ignores its first entry that names no GPU, and all entries after it
 */
export function visibleGpus(devices: readonly string[], listed: string | undefined): string[] {
  const count =
    devices.filter((name) => /^nvidia\d+$/.test(name)).length || (devices.includes('dxg') ? 1 : 0);
  const all = Array.from({ length: count }, (_, i) => String(i));
  if (listed === undefined) return all;
  const entries = listed.split(',').map((entry) => entry.trim());
  const end = entries.findIndex((entry) => !all.includes(entry) && !/^(GPU|MIG)-/.test(entry));
  return count === 0 ? [] : [...new Set(end < 0 ? entries : entries.slice(0, end))];
}

/**
 * Returns the GPU of each child of a backend, null where `usesGpus` is false. Without `children` there is one child for each
 * GPU.
 */
export function assignGpus(
  usesGpus: boolean,
  children: number | undefined,
  gpus: readonly string[],
): (string | null)[] {
  if (!usesGpus) return new Array<null>(children ?? 1).fill(null);
  return Array.from(
    { length: children ?? Math.max(1, gpus.length) },
    (_, i) => gpus[i % gpus.length] ?? null,
  );
}
