/**
 * The name and the memory of a device, as far as this machine tells them. The files of NVIDIA's driver name the GPUs, and its
 * tool `nvidia-smi` tells their memory.
 */
import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { promisify } from 'node:util';

export interface Hardware {
  /** Such as `NVIDIA H100 80GB HBM3`; null where unknown. */
  name: string | null;
  memoryBytes: number | null;
}

/** A GPU as the driver describes it. */
export interface Gpu {
  name: string;
  uuid: string;
  /** The place on the PCI bus, by which CUDA numbers GPUs when it is told to. */
  location: string;
  /** The number of its file in /dev. */
  minor: number;
}

const GPUS = '/proc/driver/nvidia/gpus';
const MEBIBYTE = 2 ** 20;
const SMI_TIMEOUT_MS = 5000;
const UNKNOWN: Hardware = { name: null, memoryBytes: null };

/** Resolves to a function from the GPU of a child, null for the CPU, to its hardware. */
export async function findHardware(): Promise<(gpu: string | null) => Hardware> {
  const processor: Hardware = { name: cpus()[0]?.model.trim() || null, memoryBytes: totalmem() };
  if (!existsSync(GPUS)) return (gpu) => (gpu === null ? processor : UNKNOWN);
  const devices = new Set(readdirSync('/dev'));
  const gpus = readdirSync(GPUS)
    .map((folder) => parseGpu(readFileSync(`${GPUS}/${folder}/information`, 'utf8')))
    .filter((gpu) => gpu !== null && devices.has(`nvidia${gpu.minor}`)) as Gpu[];
  const memory = parseMemory(await askForMemory());
  return (gpu) => (gpu === null ? processor : hardwareOf(gpu, gpus, memory));
}

/** Parses lines such as `Model: 		 NVIDIA H100 80GB HBM3`; returns null when a part is missing. */
export function parseGpu(information: string): Gpu | null {
  const lines = information.split('\n').map((line) => line.split(/:(.*)/, 2).map((part) => part.trim()));
  const of = (key: string) => lines.find(([name]) => name === key)?.[1] || null;
  const [name, uuid, location, minor] = ['Model', 'GPU UUID', 'Bus Location', 'Device Minor'].map(of);
  if (!name || !uuid || !location || !/^\d+$/.test(minor ?? '')) return null;
  return { name, uuid, location, minor: Number(minor) };
}

/** Parses lines such as `GPU-6ad1…, 81559`, in MiB, into bytes by UUID. */
export function parseMemory(csv: string): Map<string, number> {
  const lines = [...csv.matchAll(/^(GPU-[\w-]+), *(\d+)$/gm)];
  return new Map(lines.map(([, uuid = '', mebibytes]) => [uuid, Number(mebibytes) * MEBIBYTE]));
}

/** Returns the hardware of a GPU; `id` is a number by PCI bus or the beginning of a UUID, as in CUDA_VISIBLE_DEVICES. */
export function hardwareOf(id: string, gpus: readonly Gpu[], memory: ReadonlyMap<string, number>): Hardware {
  const byBus = [...gpus].sort((a, b) => (a.location < b.location ? -1 : 1));
  const gpu = /^\d+$/.test(id) ? byBus[Number(id)] : byBus.find(({ uuid }) => uuid.startsWith(id));
  return gpu ? { name: gpu.name, memoryBytes: memory.get(gpu.uuid) ?? null } : UNKNOWN;
}

/** Resolves to an empty text where there is no such tool. */
async function askForMemory(): Promise<string> {
  const query = ['--query-gpu=uuid,memory.total', '--format=csv,noheader,nounits'];
  return promisify(execFile)('nvidia-smi', query, { timeout: SMI_TIMEOUT_MS }).then(
    ({ stdout }) => stdout,
    () => '',
  );
}
