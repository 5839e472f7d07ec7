/**
 * The schedule of faults: the seed alone decides which fault happens when, to whom and for how long.
 *
 * Faults overlap, but no target has two at once, so that each can be healed by itself.
 */
import { createRandom } from './random.js';

export const APIS = ['api-1', 'api-2'] as const;
export const WORKERS = ['worker-1', 'worker-2'] as const;
const PROCESSES = [...APIS, ...WORKERS] as const;

export type Target = (typeof PROCESSES)[number] | 'redis' | 'receivers';

interface Kind {
  kind: string;
  targets: readonly Target[];
  /** Milliseconds from the fault to its healing, least and most. */
  lastsMs: readonly [number, number];
  weight: number;
}

/** In the words of the log; the letters are those of the catalogue. */
const KINDS = [
  { kind: 'killed', targets: PROCESSES, lastsMs: [300, 3000], weight: 4 },
  { kind: 'host killed', targets: WORKERS, lastsMs: [300, 3000], weight: 3 },
  { kind: 'told to stop', targets: PROCESSES, lastsMs: [300, 2000], weight: 2 },
  { kind: 'frozen', targets: PROCESSES, lastsMs: [500, 12_000], weight: 2 },
  { kind: 'child killed', targets: WORKERS, lastsMs: [500, 1000], weight: 3 },
  { kind: 'child frozen', targets: WORKERS, lastsMs: [500, 5000], weight: 2 },
  { kind: 'Redis killed', targets: ['redis'], lastsMs: [300, 8000], weight: 3 },
  { kind: 'Redis frozen', targets: ['redis'], lastsMs: [500, 15_000], weight: 2 },
  { kind: 'network silent', targets: PROCESSES, lastsMs: [1000, 20_000], weight: 3 },
  { kind: 'network cut', targets: PROCESSES, lastsMs: [100, 200], weight: 3 },
  { kind: 'network slow', targets: PROCESSES, lastsMs: [2000, 10_000], weight: 2 },
  { kind: 'refusing', targets: ['receivers'], lastsMs: [1000, 8000], weight: 2 },
] as const satisfies readonly Kind[];

export type FaultKind = (typeof KINDS)[number]['kind'];

export interface Fault {
  atMs: number;
  kind: FaultKind;
  target: Target;
  lastsMs: number;
}

const FIRST_MS = 2000;
/** Between the beginnings of two faults. */
const GAP_MS = [300, 7000] as const;
/** Between the healing of a target and its next fault. */
const CALM_MS = 3000;

export function scheduleOf(seed: number, lastsMs: number): Fault[] {
  const random = createRandom(seed);
  const freeAtMs = new Map<Target, number>();
  const faults: Fault[] = [];
  for (let atMs = FIRST_MS; atMs < lastsMs; atMs += random.between(...GAP_MS)) {
    const {
      kind,
      targets,
      lastsMs: range,
    } = random.pick<(typeof KINDS)[number]>(KINDS, ({ weight }) => weight);
    const target = random.pick<Target>(targets);
    const fault = { atMs, kind, target, lastsMs: random.between(range[0], range[1]) };
    if ((freeAtMs.get(target) ?? 0) > atMs) continue;
    freeAtMs.set(target, atMs + fault.lastsMs + CALM_MS);
    faults.push(fault);
  }
  return faults;
}
