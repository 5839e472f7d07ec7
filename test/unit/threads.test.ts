import { describe, expect, it } from 'vitest';
import { shareOfCores, threadsHere } from '../../worker/devices/threads.js';

const threads = (count: number) => ({
  TF_NUM_INTRAOP_THREADS: String(count),
  TF_NUM_INTEROP_THREADS: String(count),
});

describe('shareOfCores', () => {
  it.each([
    [2, 8, threads(4)],
    [3, 8, threads(2)],
    [8, 8, threads(1)],
    [16, 8, threads(1)],
    [1, 8, {}],
  ])('%i children on %i cores', (children, cores, shared) => {
    expect(shareOfCores(children, cores, {})).toEqual(shared);
  });

  it.each(['TF_NUM_INTRAOP_THREADS', 'TF_NUM_INTEROP_THREADS'])(
    'leaves it to an operator who sets %s',
    (name) => {
      expect(shareOfCores(2, 8, { [name]: '3' })).toEqual({});
    },
  );
});

describe('threadsHere', () => {
  it.each([
    ['all cores where nothing is said', {}, 8],
    ['the share that is said', shareOfCores(4, 8, {}), 2],
    ['what the operator says', { TF_NUM_INTRAOP_THREADS: '3' }, 3],
    ['all cores where TensorFlow may choose', { TF_NUM_INTRAOP_THREADS: '0' }, 8],
  ])('%s', (_, given, threads) => {
    expect(threadsHere(8, given)).toBe(threads);
  });
});
