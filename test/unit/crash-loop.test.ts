import { describe, expect, it } from 'vitest';
import { createRespawns, MAX_DEATHS, MAX_WAIT_MS, WINDOW_MS } from '../../worker/process/crash-loop.js';
import { createManualClock } from '../support/clock.js';

function setUp() {
  const clock = createManualClock();
  const respawns = createRespawns(clock);
  /** So many deaths, each of a child that was up for a second. */
  async function die(times: number, of: object | null = null): Promise<void> {
    for (let i = 0; i < times; i++) {
      respawns.up();
      await clock.advance(1000);
      respawns.died(of);
    }
  }
  return { clock, respawns, die };
}

describe('a child that dies', () => {
  it('is started again at once, so many times', async () => {
    const { respawns, die } = setUp();
    await die(MAX_DEATHS);
    expect(respawns).toMatchObject({ isSpent: false, waitMs: 0 });
    await die(1);
    expect(respawns).toMatchObject({ isSpent: true, waitMs: 10_000 });
  });

  it('is waited for twice as long after each further death, within a bound', async () => {
    const { clock, respawns, die } = setUp();
    await die(MAX_DEATHS + 1);
    const waits: number[] = [];
    for (let i = 0; i < 5; i++) {
      waits.push(respawns.waitMs);
      await clock.advance(respawns.waitMs);
      await die(1);
    }
    expect(waits).toEqual([10_000, 20_000, 40_000, MAX_WAIT_MS, MAX_WAIT_MS]);
    expect(respawns.isSpent).toBe(true);
  });

  it('stays beyond its budget however long it is not up', async () => {
    const { clock, respawns, die } = setUp();
    await die(MAX_DEATHS + 1);
    await clock.advance(10 * WINDOW_MS);
    expect(respawns.isSpent).toBe(true);
  });

  it('is within its budget again once a batch was computed', async () => {
    const { respawns, die } = setUp();
    await die(MAX_DEATHS + 3);
    respawns.computed();
    expect(respawns).toMatchObject({ isSpent: false, waitMs: 0 });
    await die(MAX_DEATHS);
    expect(respawns.isSpent).toBe(false);
  });

  it('is within its budget again once it has stood for the window', async () => {
    const { clock, respawns, die } = setUp();
    await die(MAX_DEATHS + 1);
    respawns.up();
    await clock.advance(WINDOW_MS - 1);
    expect(respawns.isSpent).toBe(true);
    await clock.advance(1);
    expect(respawns.isSpent).toBe(false);
    respawns.died(null);
    expect(respawns).toMatchObject({ isSpent: false, waitMs: 0 });
  });

  it('may die now and then', async () => {
    const { clock, respawns, die } = setUp();
    for (let i = 0; i < 50; i++) {
      await die(1);
      await clock.advance(WINDOW_MS / MAX_DEATHS);
    }
    expect(respawns.isSpent).toBe(false);
  });

  it('pays once for the batch that is bisected, and for each other', async () => {
    const { respawns, die } = setUp();
    const batches = Array.from({ length: MAX_DEATHS }, () => ({}));
    for (const batch of batches) await die(6, batch);
    expect(respawns.isSpent).toBe(false);
    await die(1, {});
    expect(respawns.isSpent).toBe(true);
  });
});
