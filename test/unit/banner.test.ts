import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { bannerOf } from '../../deploy/local/banner.js';
import { loadConfig } from '../../shared/contract/config.js';

const LAUNCHED = {
  address: 'http://127.0.0.1:8080',
  apiKey: 'slk_key',
  redis: 'Redis',
  metrics: { api: 1, worker: 2 },
};

it('asks for a digit where there is one to send', () => {
  const text = bannerOf(LAUNCHED, loadConfig({}));
  expect(text).toContain('Which digit is this?');
  expect(text).toContain('-d @deploy/models/mnist/examples/7.json');
});

it("shows what is served where the models are the caller's own", () => {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-banner-'));
  const text = bannerOf(LAUNCHED, loadConfig({ SLUICE_MODELS_DIR: folder }));
  rmSync(folder, { recursive: true });
  expect(text).toContain('curl -s http://127.0.0.1:8080/v1/models -H "Authorization: Bearer slk_key"');
  expect(text).not.toContain('7.json');
});
