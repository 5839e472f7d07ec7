import { describe, expect, it } from 'vitest';
import { findHardware, type Gpu, hardwareOf, parseGpu, parseMemory } from '../../worker/devices/hardware.js';

/** As the driver writes it. */
const informationOf = (model: string, uuid: string, location: string, minor: number) => `Model: \t\t ${model}
IRQ:   \t\t 164
GPU UUID: \t ${uuid}
Video BIOS: \t 96.00.89.00.01
Bus Type: \t PCIe
DMA Size: \t 52 bits
DMA Mask: \t 0xfffffffffffff
Bus Location: \t ${location}
Device Minor: \t ${minor}
GPU Firmware: \t 535.129.03
GPU Excluded:\t No
`;
const H100 = informationOf('NVIDIA H100 80GB HBM3', 'GPU-6ad1c2e4-01', '0000:9b:00.0', 0);
const L4 = informationOf('NVIDIA L4', 'GPU-77f0aa12-02', '0000:1a:00.0', 1);
const GPUS = [H100, L4].map(parseGpu) as Gpu[];
const MEMORY = parseMemory('GPU-6ad1c2e4-01, 81559\nGPU-77f0aa12-02, 23034\n');
const MEBIBYTE = 2 ** 20;

describe('what the driver writes of a GPU', () => {
  it('is read', () => {
    expect(parseGpu(H100)).toEqual({
      name: 'NVIDIA H100 80GB HBM3',
      uuid: 'GPU-6ad1c2e4-01',
      location: '0000:9b:00.0',
      minor: 0,
    });
  });

  it.each([
    ['empty', ''],
    ['without a model', H100.replace(/^Model.*\n/, '')],
    ['with a model that is empty', H100.replace('NVIDIA H100 80GB HBM3', '')],
    ['with a minor that is no number', H100.replace(/Minor: .*/, 'Minor: \t ?')],
  ])('is nothing when it is %s', (_, text) => {
    expect(parseGpu(text)).toBeNull();
  });

  it('is nothing of memory where the tool says something else', () => {
    expect(parseMemory('').size).toBe(0);
    expect(parseMemory('NVIDIA-SMI has failed because it could not communicate').size).toBe(0);
    expect(parseMemory('GPU-1, [N/A]').size).toBe(0);
  });
});

describe('the hardware of a child', () => {
  it.each([
    ['0', 'NVIDIA L4', 23034],
    ['1', 'NVIDIA H100 80GB HBM3', 81559],
    ['GPU-6ad1', 'NVIDIA H100 80GB HBM3', 81559],
  ])('that is given %s is %s', (id, name, mebibytes) => {
    expect(hardwareOf(id, GPUS, MEMORY)).toEqual({ name, memoryBytes: mebibytes * MEBIBYTE });
  });

  it('is not made up', () => {
    expect(hardwareOf('2', GPUS, MEMORY)).toEqual({ name: null, memoryBytes: null });
    expect(hardwareOf('MIG-1', GPUS, MEMORY)).toEqual({ name: null, memoryBytes: null });
    expect(hardwareOf('0', GPUS, new Map())).toEqual({ name: 'NVIDIA L4', memoryBytes: null });
  });

  it('without a GPU is this machine', async () => {
    expect((await findHardware())(null).memoryBytes).toBeGreaterThan(1e8);
  });
});
