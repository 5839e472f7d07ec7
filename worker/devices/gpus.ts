/**
 * GPUs: which of them this process may use, and which of them a child of it is given.
 */
import { readdirSync } from 'node:fs';
import { inheritedEnvironment } from '../../shared/base/config.js';

/** Of this machine, as CUDA_VISIBLE_DEVICES of a child would name them. */
export function findGpus(): string[] {
  return visibleGpus(readdirSync('/dev'), inheritedEnvironment({}).CUDA_VISIBLE_DEVICES);
}

/**
 * `devices`: names of what lies in /dev. CUDA numbers what it finds there from 0, whatever its files are called; of the
 * list that it is given it takes what comes before the first entry that names none.
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
 * For each child of a backend the GPU that it is given, null where `usesGpus` is false. Without `children` there is one child for
 * each GPU.
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
