/** Two benches, run as `npm run bench` and `npm run bench:scaling` run them but for an instant: every answer is right. */
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import type { Judged } from '../bench/goals.js';
import type { Report } from '../bench/hot/report.js';
import { ROW_IDS } from '../bench/hot/samples.js';
import type { Row as ScalingRow } from '../bench/scaling/report.js';
import { temporaryFolder } from '../support/started-redis.js';

const folder = temporaryFolder();
afterAll(() => folder.remove());

/** Redis' processor time is told in hundredths of a second; a shorter load may take none of them. */
const SHORT = ['--rounds', '1', '--seconds', '0.7', '--inflight', '8', '--rival-concurrency', '8'];

it('measures Sluice, the rival and the bare parts, and finds every answer right', async () => {
  const { code, output } = await run(['.build/test/bench/hot/main.js', ...SHORT, '--out', folder.path]);

  expect(code, output).toBe(0);
  const files = readdirSync(folder.path).sort();
  expect(files).toEqual([expect.stringMatching(/\.json$/), expect.stringMatching(/\.md$/)]);
  const [json = '', markdown = ''] = files.map((file) => readFileSync(join(folder.path, file), 'utf8'));
  expect(output).toContain(markdown);

  const { rows, promises } = JSON.parse(json) as Report;
  expect(rows.map((row) => row.id)).toEqual(ROW_IDS);
  expect(promises.filter(({ median }) => !(median > 0))).toEqual([]);
  for (const { id, samples } of rows) {
    expect(samples, id).toHaveLength(1);
    expect(samples[0]?.perSecond, id).toBeGreaterThan(0);
  }
  const compared = rows.filter(({ samples }) => samples[0]?.wrong !== undefined);
  expect(compared.map(({ samples }) => samples[0]?.wrong)).toEqual(new Array(10).fill(0));
  const lines = markdown.split('\n');
  for (const { name, detail } of rows) {
    expect(
      lines.filter((line) => line.startsWith(`| ${name} `) && line.includes(`| ${detail} `)),
    ).toHaveLength(1);
  }
}, 60_000);

it('measures workers with simulated devices, and finds their answers right', async () => {
  const options = ['--rounds', '1', '--seconds', '0.5', '--workers', '1,2', '--device-ms', '20'];
  const out = join(folder.path, 'scaling');
  const { code, output } = await run(['.build/test/bench/scaling/main.js', ...options, '--out', out]);

  expect(code, output).toBe(0);
  const json = readdirSync(out).find((name) => name.endsWith('.json')) ?? '';
  const { rows, promises } = JSON.parse(readFileSync(join(out, json), 'utf8')) as ScalingReport;
  expect(rows.map(({ workers, samples }) => [workers, samples.length])).toEqual([
    [1, 1],
    [2, 1],
  ]);
  for (const { samples } of rows) {
    expect(samples[0]?.perSecond).toBeGreaterThan(0);
    expect(samples[0]?.load.devices).toBeLessThan(2);
  }
  expect(promises).toMatchObject([{ id: 'P6', median: expect.any(Number) }]);
}, 60_000);

interface ScalingReport {
  rows: ScalingRow[];
  promises: Judged[];
}

function run(args: string[]): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    const keep = (text: Buffer) => {
      output += text;
    };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, output }));
  });
}
