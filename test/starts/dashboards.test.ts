/**
 * The dashboard under a real Prometheus: each query of each panel has an answer while Sluice works.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { answer, openReceiver, type Receiver } from '../support/receiver.js';
import { freePort, ROOT, type Stack, startStack } from '../support/stack.js';
import { temporaryFolder } from '../support/started-redis.js';

interface Panel {
  title: string;
  type: string;
  targets?: { expr: string }[];
}

const { panels } = JSON.parse(
  readFileSync(join(ROOT, 'deploy/monitoring/dashboards/sluice.json'), 'utf8'),
) as {
  panels: Panel[];
};
const queries = panels.flatMap(({ title, targets = [] }) =>
  targets.map(({ expr }) => [title, expr] as const),
);
const isThere = spawnSync('prometheus', ['--version']).status === 0;
if (!isThere) console.warn('SKIPPED: no prometheus on the PATH, so no query of the dashboard is tried.');
const BOUND = { timeout: 30_000, interval: 500 };

it('has a query in each panel, and each panel once', () => {
  const shown = panels.filter(({ type }) => type !== 'row');
  expect(shown.filter(({ targets }) => !targets?.length)).toEqual([]);
  expect(new Set(shown.map(({ title }) => title)).size).toBe(shown.length);
});

describe.skipIf(!isThere)('the query of', () => {
  const folder = temporaryFolder();
  let stack: Stack;
  let receiver: Receiver;
  let prometheus: ChildProcess;
  let url: string;
  let stopLoad = () => {};

  beforeAll(async () => {
    const [apiPort, workerPort, port] = await Promise.all([freePort(), freePort(), freePort()]);
    url = `http://127.0.0.1:${port}`;
    stack = await startStack(inject('redisUrl'), { SLUICE_METRICS_PORT: String(apiPort) }, 0);
    stack.addWorker({ SLUICE_METRICS_PORT: String(workerPort) });
    await stack.ready();
    receiver = await openReceiver(answer(200));
    await stack.request('POST', '/v1/webhook-endpoints', { url: receiver.url, events: ['job.succeeded'] });
    const config = {
      global: { scrape_interval: '1s' },
      scrape_configs: [
        {
          job_name: 'sluice',
          static_configs: [{ targets: [`127.0.0.1:${apiPort}`, `127.0.0.1:${workerPort}`] }],
        },
      ],
    };
    // JSON is YAML.
    writeFileSync(join(folder.path, 'prometheus.yml'), JSON.stringify(config));
    const args = [
      '--config.file=prometheus.yml',
      '--storage.tsdb.path=data',
      `--web.listen-address=127.0.0.1:${port}`,
    ];
    prometheus = spawn('prometheus', args, { cwd: folder.path, stdio: 'ignore' });
    const body = { model: 'mnist', instances: [Array(784).fill(0)] };
    const timer = setInterval(() => void stack.request('POST', '/v1/jobs', body, { prefer: 'wait=5' }), 200);
    stopLoad = () => clearInterval(timer);
  });
  afterAll(async () => {
    stopLoad();
    prometheus?.kill('SIGKILL');
    await receiver?.close();
    await stack?.close();
    folder.remove();
  });

  it.each(queries)('%s has an answer: %s', async (_, expr) => {
    const query = expr.replaceAll('$__rate_interval', '10s').replaceAll('$model', '.*');
    const ask = async () => {
      const response = await fetch(`${url}/api/v1/query?query=${encodeURIComponent(query)}`).catch(
        () => null,
      );
      const { status, data, error } = response ? ((await response.json()) as Answer) : { status: 'away' };
      return status === 'success' ? (data?.result.length ?? 0) : (error ?? status);
    };
    await expect.poll(ask, BOUND).toBeGreaterThan(0);
  });
});

interface Answer {
  status: string;
  error?: string;
  data?: { result: unknown[] };
}
