import { describe, expect, it } from 'vitest';
import { assignGpus, visibleGpus } from '../../worker/devices/gpus.js';

const TWO = ['null', 'nvidia0', 'nvidia1', 'nvidiactl', 'nvidia-uvm', 'nvidia-caps'];

describe('the GPUs that are visible', () => {
  it.each([
    ['none', ['null', 'nvidiactl'], undefined, []],
    ['all', TWO, undefined, ['0', '1']],
    ['numbered from 0 whatever their files are called', ['nvidia3', 'nvidia12'], undefined, ['0', '1']],
    ['one of the Windows subsystem', ['dxg', 'null'], undefined, ['0']],
    ['those of the list, in its order', TWO, '1, 0', ['1', '0']],
    ['none of an empty list', TWO, '', []],
    ['none of -1', TWO, '-1', []],
    ['none of what is not there', ['null'], '0', []],
    ['those before what is not there', TWO, '1,7,0', ['1']],
    ['by name', TWO, 'GPU-6ad1,MIG-77f0', ['GPU-6ad1', 'MIG-77f0']],
    ['each once', TWO, '1,1', ['1']],
  ])('are %s', (_, devices, listed, gpus) => {
    expect(visibleGpus(devices, listed)).toEqual(gpus);
  });
});

describe('the children of a backend', () => {
  it.each([
    ['cuda', undefined, [], [null]],
    ['cuda', undefined, ['0', '1', 'GPU-6ad1'], ['0', '1', 'GPU-6ad1']],
    ['cuda', 1, ['1', '0'], ['1']],
    ['cuda', 5, ['0', '1'], ['0', '1', '0', '1', '0']],
    ['cuda', 2, [], [null, null]],
    ['wasm', undefined, ['0', '1'], [null]],
    ['wasm', 3, ['0', '1'], [null, null, null]],
    ['native', 2, ['0'], [null, null]],
    ['cpu', undefined, [], [null]],
  ] as const)('of %s, %s wanted, GPUs %j, are given %j', (backend, children, gpus, given) => {
    expect(assignGpus(backend === 'cuda', children, gpus)).toEqual(given);
  });
});
