import { describe, expect, it } from 'vitest';
import { createCrashLoop, MAX_DEATHS, MAX_WAIT_MS, WINDOW_MS } from '../../worker/process/crash-loop.js';
import { createManualClock } from '../support/manual-clock.js';

function setUp() {
  const clock = createManualClock();
  const crashLoop = createCrashLoop(clock);
  /** So many deaths, each of a child that was up for a second. */
  async function die(times: number, batch: object | null = null): Promise<void> {
    for (let i = 0; i < times; i++) {
      crashLoop.up();
      await clock.advance(1000);
      crashLoop.died(batch);
    }
  }
  return { clock, crashLoop, die };
}

describe('a child that dies', () => {
  it('is replaced at once, so many times', async () => {
    const { crashLoop, die } = setUp();
    await die(MAX_DEATHS);
    expect(crashLoop).toMatchObject({ isLooping: false, waitMs: 0 });
    await die(1);
    expect(crashLoop).toMatchObject({ isLooping: true, waitMs: 10_000 });
  });

  it('is waited for twice as long after each further death, within a bound', async () => {
    const { clock, crashLoop, die } = setUp();
    await die(MAX_DEATHS + 1);
    const waits: number[] = [];
    for (let i = 0; i < 5; i++) {
      waits.push(crashLoop.waitMs);
      await clock.advance(crashLoop.waitMs);
      await die(1);
    }
    expect(waits).toEqual([10_000, 20_000, 40_000, MAX_WAIT_MS, MAX_WAIT_MS]);
    expect(crashLoop.isLooping).toBe(true);
  });

  it('loops however long no child is up', async () => {
    const { clock, crashLoop, die } = setUp();
    await die(MAX_DEATHS + 1);
    await clock.advance(10 * WINDOW_MS);
    expect(crashLoop.isLooping).toBe(true);
  });

  it('loops no more once a batch was computed', async () => {
    const { crashLoop, die } = setUp();
    await die(MAX_DEATHS + 3);
    crashLoop.computed();
    expect(crashLoop).toMatchObject({ isLooping: false, waitMs: 0 });
    await die(MAX_DEATHS);
    expect(crashLoop.isLooping).toBe(false);
  });

  it('loops no more once it has stayed up for the window', async () => {
    const { clock, crashLoop, die } = setUp();
    await die(MAX_DEATHS + 1);
    crashLoop.up();
    await clock.advance(WINDOW_MS - 1);
    expect(crashLoop.isLooping).toBe(true);
    await clock.advance(1);
    expect(crashLoop.isLooping).toBe(false);
    crashLoop.died(null);
    expect(crashLoop).toMatchObject({ isLooping: false, waitMs: 0 });
  });

  it('may die now and then', async () => {
    const { clock, crashLoop, die } = setUp();
    for (let i = 0; i < 50; i++) {
      await die(1);
      await clock.advance(WINDOW_MS / MAX_DEATHS);
    }
    expect(crashLoop.isLooping).toBe(false);
  });

  it('counts a batch that runs again by halves once, and each other', async () => {
    const { crashLoop, die } = setUp();
    const batches = Array.from({ length: MAX_DEATHS }, () => ({}));
    for (const batch of batches) await die(6, batch);
    expect(crashLoop.isLooping).toBe(false);
    await die(1, {});
    expect(crashLoop.isLooping).toBe(true);
  });
});
