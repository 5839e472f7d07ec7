/** The bench, run as `npm run bench` runs it but for an instant: it measures every row, and every answer is right. */
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import type { Report } from '../bench/report.js';
import { temporaryFolder } from '../support/started-redis.js';

const folder = temporaryFolder();
afterAll(() => folder.remove());

const SHORT = ['--rounds', '1', '--seconds', '0.3', '--inflight', '8', '--rival-concurrency', '8'];

it('measures Sluice, the rival and the bare parts, and finds every answer right', async () => {
  const { code, output } = await run(['.build/test/bench/main.js', ...SHORT, '--out', folder.path]);

  expect(code, output).toBe(0);
  const files = readdirSync(folder.path).sort();
  expect(files).toEqual([expect.stringMatching(/\.json$/), expect.stringMatching(/\.md$/)]);
  const [json = '', markdown = ''] = files.map((file) => readFileSync(join(folder.path, file), 'utf8'));
  expect(output).toContain(markdown);

  const { rows } = JSON.parse(json) as Report;
  expect(rows.map((row) => row.id)).toEqual([
    ...['sluice', 'sluice1', 'rival', 'rival1'],
    ...['queueRow', 'queueId', 'backend1', 'backend32'],
  ]);
  for (const { id, samples } of rows) {
    expect(samples, id).toHaveLength(1);
    expect(samples[0]?.perSecond, id).toBeGreaterThan(0);
  }
  for (const row of rows.slice(0, 4)) expect(row.samples[0], row.id).toMatchObject({ wrong: 0 });
  const lines = markdown.split('\n');
  for (const { name, detail } of rows) {
    expect(
      lines.filter((line) => line.startsWith(`| ${name} `) && line.includes(`| ${detail} `)),
    ).toHaveLength(1);
  }
}, 60_000);

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
