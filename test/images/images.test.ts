/**
 * The images: built by the Dockerfile, looked into, and run together on a container engine as an operator would run them.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { runCommand } from '../../deploy/run-command.js';
import { VERSION } from '../../shared/base/version.js';
import { ROOT } from '../support/stack.js';
import { docker, examineImage, faultOfEngine, type ImageFacts } from './engine.js';

const MEGABYTE = 1e6;
const BUILD_MS = 1_800_000;
const BOUND = { timeout: 60_000, interval: 250 };
/** The most that each may take, and the backend on which its worker computes. */
const IMAGES = {
  api: { megabytes: 250, backend: null },
  worker: { megabytes: 400, backend: 'wasm' },
  'worker-native': { megabytes: 1300, backend: 'native' },
} as const;
type Target = keyof typeof IMAGES;
const TARGETS = Object.keys(IMAGES) as Target[];
const WORKERS = TARGETS.filter((target) => IMAGES[target].backend !== null);

const KEY = 'slk_images0000000000000000000000000000';
const DIGIT = readFileSync(join(ROOT, 'deploy/models/mnist/examples/7.json'), 'utf8');
const run = `sluice-images-${process.pid}`;
const imageOf = (target: Target) => `sluice-${target}:test`;
const nameOf = (part: string) => `${run}-${part}`;

/** An answer of the API, as far as these tests read it. */
interface Answer {
  status: string;
  predictions: number[][];
  results: { job: { id: string } }[];
  data: { devices: { backend: string }[] }[];
}

const fault = await faultOfEngine();
if (fault)
  console.warn(`\n!!! SKIPPED: no image is built or run: ${fault}. To have it: start a Docker engine\n`);

describe.skipIf(fault)('the images', () => {
  const images = {} as Record<Target, ImageFacts>;

  beforeAll(async () => {
    const { stdout: revision } = await runCommand('git', ['rev-parse', 'HEAD'], { cwd: ROOT });
    const args = [`VERSION=${VERSION}`, `REVISION=${revision}`].flatMap((arg) => ['--build-arg', arg]);
    for (const target of TARGETS) {
      const dockerfile = ['--file', 'deploy/images/Dockerfile', '--target', target];
      await docker(['build', ...dockerfile, ...args, '--tag', imageOf(target), '.'], { cwd: ROOT });
      images[target] = await examineImage(imageOf(target));
    }
  }, BUILD_MS);

  describe.each(TARGETS)('%s', (target) => {
    it('is as small as promised', async () => {
      const { bytes, layers } = images[target];
      const megabytes = bytes / MEGABYTE;
      console.log(`${target}: ${megabytes.toFixed(0)} MB\n  ${layers.join('\n  ')}`);
      expect(megabytes).toBeLessThanOrEqual(IMAGES[target].megabytes);
    });

    it('says what it is, and starts without a shell as nobody in particular', () => {
      const { User, Entrypoint, Healthcheck, Labels } = images[target].config;
      expect(User).toBe('65532:65532');
      expect(Entrypoint[0]).toBe('node');
      expect(Healthcheck?.Test.slice(0, 2)).toEqual(['CMD', 'node']);
      expect(Labels).toMatchObject({
        'org.opencontainers.image.licenses': 'MIT',
        'org.opencontainers.image.version': VERSION,
        'org.opencontainers.image.revision': expect.stringMatching(/^[0-9a-f]{40}$/),
      });
    });

    it('holds no shell, and no program with rights of its own', () => {
      const { files } = images[target];
      expect(files.filter((line) => / usr\/local\/bin\/node$/.test(line))).toHaveLength(1);
      expect(files.filter((line) => /bin\/(ba|da|z)?sh\b/.test(line))).toEqual([]);
      expect(files.filter((line) => /^-..[sS]|^-.....[sS]/.test(line))).toEqual([]);
    });

    it('holds the packages that its bill of materials lists', async () => {
      const read = ['run', '--rm', '--no-healthcheck', '--entrypoint', 'node', imageOf(target), '-p'];
      const sbom = JSON.parse(await docker([...read, "fs.readFileSync('sbom.cdx.json', 'utf8')"]));
      const listed: string[] = sbom.components.map((each: { 'bom-ref': string }) =>
        each['bom-ref'].replace(/@[^@]+$/, ''),
      );
      const held = images[target].files.flatMap((line) => {
        const path = / app\/(?:.*\/)?node_modules\/((?:@[^/]+\/)?[^/]+)\/package\.json$/.exec(line);
        return path?.[1] ?? [];
      });
      expect(new Set(held)).toEqual(new Set(listed));
    });

    it('loads every module that it holds', async () => {
      const load = `
        const own = fs.readdirSync('dist', { recursive: true }).filter((file) => /\\.js$/.test(file) && !/(main|check-health)\\.js$/.test(file));
        Promise.all(own.map((file) => import('/app/dist/' + file))).then((all) => console.log(all.length), (error) => { console.error(error); process.exit(1) })`;
      const container = ['run', '--rm', '--no-healthcheck', '--read-only', '--entrypoint', 'node'];
      expect(Number(await docker([...container, imageOf(target), '-e', load]))).toBeGreaterThan(80);
    });
  });

  it('the API has no tfjs', () => {
    const tfjsOf = ({ files }: ImageFacts) => files.filter((line) => line.includes('@tensorflow'));
    expect(tfjsOf(images.worker)).not.toEqual([]);
    expect(tfjsOf(images.api)).toEqual([]);
  });

  describe('together', () => {
    let url = '';
    const started: string[] = [];

    /** Starts one as an operator should: no rights, nothing to write but its volume. */
    async function start(name: string, target: Target, more: readonly string[] = []): Promise<void> {
      const guard = ['--read-only', '--cap-drop', 'ALL', '--security-opt', 'no-new-privileges'];
      const place = [
        '--network',
        run,
        '--volume',
        `${run}:/data`,
        '--env',
        `REDIS_URL=redis://${nameOf('redis')}`,
      ];
      await create(name, [...guard, ...place, ...more, imageOf(target)]);
    }

    async function create(name: string, args: readonly string[]): Promise<void> {
      started.push(nameOf(name));
      await docker(['run', '--detach', '--name', nameOf(name), ...args]);
    }

    beforeAll(async () => {
      await docker(['network', 'create', run]);
      await docker(['volume', 'create', run]);
      const settings = ['--appendonly', 'yes', '--protected-mode', 'no', '--bind', '0.0.0.0'];
      await create('redis', ['--network', run, 'redis:7', 'redis-server', ...settings]);
      await start('api', 'api', ['--publish', '127.0.0.1::8080', '--env', `SLUICE_BOOTSTRAP_KEY=${KEY}`]);
      url = `http://${await docker(['port', nameOf('api'), '8080/tcp'])}`;
      for (const target of WORKERS)
        await start(target, target, ['--env', `SLUICE_BACKEND=${IMAGES[target].backend}`]);
      const healthy = async (part: Target) => expect(await healthOf(part)).toBe('healthy');
      for (const part of TARGETS) await vi.waitFor(() => healthy(part), BOUND);
    }, 180_000);

    afterAll(async () => {
      for (const name of started) {
        await docker(['rm', '--force', '--volumes', name]);
      }
      await docker(['volume', 'rm', run]);
      await docker(['network', 'rm', run]);
    });

    /** Runs the check of the image, as an engine does every few seconds. */
    async function healthOf(part: Target): Promise<string> {
      const [, ...check] = images[part].config.Healthcheck?.Test ?? [];
      return docker(['exec', nameOf(part), ...check]).then(
        () => 'healthy',
        (error: Error) => error.message,
      );
    }

    async function request(method: string, path: string, body?: string) {
      const headers = {
        authorization: `Bearer ${KEY}`,
        'content-type': 'application/json',
        prefer: 'wait=30',
      };
      const response = await fetch(`${url}${path}`, { method, headers, ...(body && { body }) });
      return (await response.json()) as Answer;
    }

    const exitCodeOf = async (part: string) =>
      Number(await docker(['inspect', '--format', '{{.State.ExitCode}}', nameOf(part)]));

    it.each(WORKERS)('%s computes the digit of the quickstart', async (target) => {
      const others = WORKERS.filter((each) => each !== target);
      for (const other of others) await docker(['pause', nameOf(other)]);
      try {
        const job = await request('POST', '/v1/jobs', DIGIT);
        expect(job.status).toBe('succeeded');
        const [scores = []] = job.predictions;
        expect(scores.indexOf(Math.max(...scores))).toBe(7);
      } finally {
        for (const other of others) await docker(['unpause', nameOf(other)]);
      }
    });

    it('each worker computes on its backend', async () => {
      const backends = async () => {
        const { data } = await request('GET', '/v1/workers');
        return data.map(({ devices }) => devices[0]?.backend).sort();
      };
      // A worker that was paused is forgotten until it announces itself again.
      await expect.poll(backends, BOUND).toEqual(WORKERS.map((target) => IMAGES[target].backend).sort());
    });

    it('their health turns when Redis is away, and turns back', async () => {
      await docker(['stop', nameOf('redis')]);
      for (const part of TARGETS) await expect.poll(() => healthOf(part), BOUND).toMatch(/unavailable|Redis/);
      await docker(['start', nameOf('redis')]);
      for (const part of TARGETS) await expect.poll(() => healthOf(part), BOUND).toBe('healthy');
    });

    it('a worker that is told to stop ends well, and no job is lost', async () => {
      const lines = Array.from({ length: 300 }, () => JSON.parse(DIGIT));
      const { results } = await request('POST', '/v1/jobs/bulk', JSON.stringify({ jobs: lines }));
      for (const target of WORKERS) await docker(['stop', '--time', '40', nameOf(target)]);
      for (const target of WORKERS) expect(await exitCodeOf(target), target).toBe(0);
      await docker(['start', nameOf('worker')]);
      expect(results).toHaveLength(300);
      for (const { job } of results) {
        const status = async () => (await request('GET', `/v1/jobs/${job.id}`)).status;
        await expect.poll(status, BOUND).toBe('succeeded');
      }
    });

    it('an API that is told to stop ends well', async () => {
      await docker(['stop', '--time', '40', nameOf('api')]);
      expect(await exitCodeOf('api')).toBe(0);
    });
  });
});
