import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { defaultCacheFolder } from '../../shared/contract/cache-folder.js';

it('is in the home of the user, and beside the data for a user who has none', () => {
  const home = mkdtempSync(join(tmpdir(), 'sluice-home-'));
  try {
    expect(defaultCacheFolder(() => home)).toBe(join(home, '.cache/sluice'));
    expect(defaultCacheFolder(() => join(home, 'nonexistent'))).toBe('.sluice/cache');
    mkdirSync(join(home, 'mounted/.cache'), { recursive: true });
    expect(defaultCacheFolder(() => join(home, 'mounted'))).toBe(join(home, 'mounted/.cache/sluice'));
  } finally {
    rmSync(home, { recursive: true });
  }
  const none = () => {
    throw Object.assign(new Error('no such user'), { code: 'ERR_SYSTEM_ERROR' });
  };
  expect(defaultCacheFolder(none)).toBe('.sluice/cache');
});
