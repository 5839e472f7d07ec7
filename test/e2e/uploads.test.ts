/**
 * Model versions uploaded over the API: served without a restart, by workers of then and of later; what is refused at once,
 * what only a worker can find, and what becomes of a retired version.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { createBatchFiles } from '../support/batch-files.js';
import { childrenOf, signal } from '../support/processes.js';
import { wavOf } from '../support/sounds.js';
import { type Answer, ROOT, type Stack, startStack } from '../support/stack.js';
import { denseByHand, writeDense } from '../support/tiny-models.js';
import { partsOf, postVersion, uploadVersion } from '../support/uploads.js';
import { zip } from '../support/zip.js';

const BOUND = { timeout: 20_000 };
const MNIST = join(ROOT, 'deploy/models/mnist/1');
const digit = JSON.parse(readFileSync(join(ROOT, 'deploy/models/mnist/examples/7.json'), 'utf8'));
const folder = mkdtempSync(join(tmpdir(), 'sluice-uploads-'));
const OPTIONS = {
  SLUICE_CACHE_DIR: join(folder, 'cache'),
  SLUICE_MODELS: 'mnist,later,digits,cnn,broken,small,packed,sounds,infinite-null,infinite-string',
};

let stack: Stack;
beforeAll(async () => {
  stack = await startStack(inject('redisUrl'), { ...OPTIONS, LOG_LEVEL: 'info' });
  await stack.ready();
});
afterAll(async () => {
  await stack.close();
  rmSync(folder, { recursive: true, force: true });
});

type Files = Record<string, string | Uint8Array<ArrayBuffer>>;

/** The upload of a caller who brings mnist: its files, and what a manifest must say of a layers model. */
const described = readFileSync(join(MNIST, 'model.yaml'), 'utf8');
const manifest = described.replace(/^(name|version): .*\n/gm, '').replace(/^files:\n( .*\n)+/m, '');
const mnist: Files = {
  'model.yaml': manifest,
  ...Object.fromEntries(
    ['model.json', 'group1-shard1of1.bin', 'golden.json'].map((path) => [
      path,
      new Uint8Array(readFileSync(join(MNIST, path))),
    ]),
  ),
};
const without = (path: string): Files =>
  Object.fromEntries(Object.entries(mnist).filter(([p]) => p !== path));

const upload = (
  name: string,
  files: Files,
  more: [path: string, content: string][] = [],
  query = '',
): Promise<Answer> => postVersion(stack, name, partsOf([...Object.entries(files), ...more]), query);

const versionOf = async (name: string, version: number) =>
  (await stack.request('GET', `/v1/models/${name}/versions/${version}`)).body;
const reaches = (name: string, version: number, state: string) =>
  expect.poll(async () => (await versionOf(name, version)).state, BOUND).toBe(state);
const aliasesOf = async (name: string) => (await stack.request('GET', `/v1/models/${name}`)).body.aliases;
const submit = (model: string) => stack.request('POST', '/v1/jobs?wait=20', { ...digit, model });

describe('an uploaded version', () => {
  it('is served by the worker that runs, and latest moves to it', async () => {
    const { status, headers, body } = await upload('mnist', mnist);
    expect({ status, location: headers.get('location') }).toEqual({
      status: 202,
      location: '/v1/models/mnist/versions/2',
    });
    const known = await versionOf('mnist', 1);
    expect(body).toMatchObject({
      version: 2,
      state: 'pending',
      signature: known.signature,
      sizeBytes: known.sizeBytes,
    });
    await reaches('mnist', 2, 'ready');
    expect((await versionOf('mnist', 2)).waitingFor).toBeNull();
    expect(await aliasesOf('mnist')).toEqual({ latest: 2 });
    const [now, before] = await Promise.all([submit('mnist'), submit('mnist@1')]);
    expect(now.body).toMatchObject({ status: 'succeeded', model: { version: 2 } });
    expect(before.body).toMatchObject({ status: 'succeeded', model: { version: 1 } });
    expect(now.body.predictions).toEqual(before.body.predictions);
    expect((await versionOf('mnist', 2)).metrics.goldenDifference).toBeLessThan(1e-4);
  });

  it.each([
    ['null', [null, null]],
    ['string', ['Infinity', 'Infinity']],
  ])('gives NaN and Infinity as nonFinite: %s says, in jobs and in batches', async (nonFinite, shown) => {
    const name = `infinite-${nonFinite}`;
    const { folder: made, manifest } = writeDense(mkdtempSync(join(folder, 'tiny-')));
    const { signature, batching } = manifest;
    const files = ['model.json', 'weights.bin'].map((path) => [path, readFileSync(join(made, path))]);
    const yaml = `${JSON.stringify({ format: 'layers', signature, batching }).slice(0, -1)}, nonFinite: ${nonFinite}}`;
    expect(await upload(name, { ...Object.fromEntries(files), 'model.yaml': yaml })).toMatchObject({
      status: 202,
    });
    await reaches(name, 1, 'ready');
    const body = {
      model: name,
      instances: [
        [3e38, 3e38, 3e38],
        [1, 2, 3],
      ],
    };
    const job = await stack.request('POST', '/v1/jobs?wait=20', body);
    expect(job.body).toMatchObject({ status: 'succeeded', predictions: [shown, [22.5, 27.5]] });
    const batchFiles = createBatchFiles(stack);
    const inputFile = await batchFiles.upload([{ instances: body.instances }]);
    const batch = await batchFiles.ended((await batchFiles.post({ model: name, inputFile })).body.id);
    expect(await batchFiles.linesOf(batch.outputFile)).toMatchObject([
      { predictions: [shown, [22.5, 27.5]] },
    ]);
  });

  it('makes the model where its name is new, and is served by a worker of later', async () => {
    const uploaded = await upload('later', { ...mnist, 'model.yaml': `version: 7\n${manifest}` });
    expect(uploaded).toMatchObject({ status: 202, body: { version: 7 } });
    await reaches('later', 7, 'ready');
    stack.workers.pop()?.kill('SIGKILL');
    // As on another machine: nothing of it was fetched there.
    stack.addWorker({ SLUICE_CACHE_DIR: join(folder, 'other-cache') });
    expect((await submit('later')).body).toMatchObject({ status: 'succeeded', model: { version: 7 } });
    const drafts = () =>
      readdirSync(join(folder, 'other-cache/models')).filter((name) => name.startsWith('.'));
    await expect.poll(drafts, BOUND).toEqual([]);
    expect(await upload('later', { ...mnist, 'model.yaml': `version: 7\n${manifest}` })).toMatchObject({
      status: 409,
      body: { code: 'version_exists' },
    });
  });

  it('is fetched anew when its copy was damaged, and no other version notices', async () => {
    const told = (message: string, name: string, version: number) =>
      stack
        .output()
        .split('\n')
        .filter((line) => line.includes(message) && line.includes(`"model":"${name}","version":${version}`))
        .length;
    const both = [
      ['later', 7],
      ['mnist', 2],
    ] as const;
    // By the worker of then, and by this one.
    for (const [name, version] of both)
      await expect.poll(() => told('version ready', name, version), BOUND).toBe(2);
    const copies = join(folder, 'other-cache/models');
    for (const copy of readdirSync(copies))
      writeFileSync(join(copies, copy, 'group1-shard1of1.bin'), 'damage');
    const [child] = childrenOf(stack.workers.at(-1)?.pid);
    expect(signal(child, 'SIGKILL')).toBe(true);
    expect((await submit('mnist@1')).body).toMatchObject({ status: 'succeeded', attempts: 1 });
    // Jobs that come meanwhile are handed back until the files are here again, which must not use up their starts.
    const models = Array.from({ length: 40 }, (_, i) => (i % 2 === 0 ? 'later@7' : 'mnist@2'));
    const answers = await Promise.all(models.map(submit));
    expect(answers.map(({ body }) => body.error ?? body.status)).toEqual(models.map(() => 'succeeded'));
    for (const [name, version] of both) expect(told('version lost', name, version)).toBe(1);
    expect((await versionOf('later', 7)).state).toBe('ready');
  });

  it('gets a number of its own when several come at once', async () => {
    const answers = await Promise.all(Array.from({ length: 4 }, () => upload('later', mnist)));
    expect(answers.map(({ body }) => body.version).sort((a, b) => a - b)).toEqual([8, 9, 10, 11]);
    expect(new Set(answers.map(({ body }) => body.sha256)).size, 'in whichever order their files came').toBe(
      1,
    );
  });

  it('may be a SavedModel alone, which waits for a worker that runs it', async () => {
    const root = join(ROOT, 'test/fixtures/models/mnist-cnn/1');
    const paths = readdirSync(root, { recursive: true, encoding: 'utf8', withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1))
      .filter((path) => path !== 'model.yaml' && path !== 'golden.json');
    const files = paths.map((path) => [path, new Uint8Array(readFileSync(join(root, path)))]);
    const { status, body } = await upload('cnn', Object.fromEntries(files));
    expect(status).toBe(202);
    expect(body.signature.inputs).toEqual([{ name: 'image', dtype: 'float32', shape: [28, 28, 1] }]);
    await expect
      .poll(async () => (await versionOf('cnn', 1)).error, BOUND)
      .toMatch(/no backend of this worker runs the format saved_model/);
    const { state, waitingFor } = await versionOf('cnn', 1);
    expect([state, waitingFor.what]).toEqual(['pending', 'backend']);
  });

  it('that takes sounds is given their samples, and tells what it does not take', async () => {
    const x = { name: 'x', dtype: 'audio', shape: [3], sampleRate: 16_000 } as const;
    const inputs = [{ ...x, shape: [...x.shape], preprocess: { samples: 'pad' as const } }];
    const made = writeDense(folder, { name: 'sounds', inputs });
    expect((await uploadVersion(stack, 'sounds', made)).status).toBe(202);
    await reaches('sounds', 1, 'ready');
    const response = await fetch(`${stack.url}/v1/files`, {
      method: 'POST',
      headers: { authorization: `Bearer ${stack.key}` },
      body: partsOf([['short.wav', wavOf([8192])]]),
    });
    const file = (await response.json()) as { id: string };
    const hear = (audio: object) =>
      stack.request('POST', '/v1/jobs?wait=20', { model: 'sounds', instances: [{ audio }] });
    const b64 = (bytes: Uint8Array) => ({ b64: Buffer.from(bytes).toString('base64') });
    const answers = await Promise.all([hear(b64(wavOf([16_384, 0, -16_384]))), hear({ file: file.id })]);
    expect(answers.map(({ body }) => body.predictions)).toEqual([
      [denseByHand([0.5, 0, -0.5])],
      [denseByHand([0.25])],
    ]);
    for (const [bytes, message] of [
      [Buffer.from('ID3\x04\0\0\0\0\0\0'), 'is an MP3 file, not a WAV or FLAC file; `ffmpeg -i input.mp3'],
      [wavOf([1, 2]).subarray(0, 46), 'is a WAV file that is cut off'],
    ] as const) {
      const { status, body } = await hear(b64(bytes));
      expect({ status, path: body.errors[0].path }).toEqual({ status: 422, path: '/instances/0/audio/b64' });
      expect(body.errors[0].message).toContain(message);
    }
  });

  it('says that it waits for a worker while none takes it up', async () => {
    const { body } = await upload('nobodys', mnist);
    expect(body.waitingFor).toEqual({ what: 'worker', since: body.createdAt });
    expect(await versionOf('nobodys', 1)).toEqual(body);
  });

  it('that computes something else than its golden vectors never serves', async () => {
    const golden = JSON.parse(new TextDecoder().decode(mnist['golden.json'] as Uint8Array));
    [golden.outputs[0], golden.outputs[1]] = [golden.outputs[1], golden.outputs[0]];
    await upload('broken', mnist);
    await reaches('broken', 1, 'ready');
    await upload('broken', { ...mnist, 'golden.json': JSON.stringify(golden) });
    await reaches('broken', 2, 'failed');
    expect((await versionOf('broken', 2)).error).toMatch(/golden instance 0/);
    const told = () => stack.output().match(/.*golden instance 0.*\n/g) ?? [];
    await expect
      .poll(told, BOUND)
      .toEqual([expect.stringMatching(/"model":"broken","version":2.*version failed/)]);
    expect(told()[0], 'where it was found out is no news').not.toContain('"stack"');
    expect(await aliasesOf('broken')).toEqual({ latest: 1 });
    expect((await submit('broken')).body).toMatchObject({ status: 'succeeded', model: { version: 1 } });
    expect(await submit('broken@2')).toMatchObject({ status: 409, body: { code: 'model_failed' } });
  });

  it('is taken from the worker when it is retired and nothing of it is left', async () => {
    const { body } = await upload('broken', mnist);
    await reaches('broken', body.version, 'ready');
    await stack.request('DELETE', `/v1/models/broken/versions/${body.version}`);
    const line = new RegExp(`"model":"broken","version":${body.version},"msg":"version removed"`);
    await expect.poll(() => stack.output(), BOUND).toMatch(line);
    expect((await submit('broken@1')).body.status).toBe('succeeded');
  });
});

describe('an upload that asks for smaller weights', () => {
  const versions = { float16: 1, uint8: 2 };
  it.each([
    ['float16', 0.55, 0.001],
    ['uint8', 0.3, 0.05],
  ] as const)('has them as %s, and tells what that costs', async (dtype, share, tolerance) => {
    const query = `?quantize=${dtype}&tolerance=${tolerance}`;
    const { status, body } = await upload('small', mnist, [], query);
    const original = await versionOf('mnist', 1);
    expect(status).toBe(202);
    expect(body.quantization).toEqual({ dtype, tolerance, originalBytes: original.sizeBytes });
    await reaches('small', versions[dtype], 'ready');
    const version = await versionOf('small', versions[dtype]);
    const golden = (mnist['golden.json'] as Uint8Array).length;
    expect((version.sizeBytes - golden) / (original.sizeBytes - golden)).toBeLessThan(share);
    expect(version.metrics.goldenDifference).toBeGreaterThan(original.metrics.goldenDifference);
    expect(version.metrics.goldenDifference).toBeLessThanOrEqual(tolerance);
    const [probabilities] = (await submit(`small@${versions[dtype]}`)).body.predictions;
    expect(probabilities.indexOf(Math.max(...probabilities))).toBe(7);
  });

  it('never serves beyond the tolerance', async () => {
    await upload('small', mnist, [], '?quantize=uint8&tolerance=0.00001');
    await reaches('small', 3, 'failed');
    expect((await versionOf('small', 3)).error).toMatch(/golden instance \d+: .*\(tolerance 0.00001\)/);
  });

  it.each<[string, Files, string, string]>([
    ['to what is unknown', mnist, '?quantize=int4', '?quantize'],
    ['beyond all tolerance', mnist, '?quantize=uint8&tolerance=2', '?tolerance'],
    [
      'without golden vectors',
      { ...without('golden.json'), 'model.yaml': manifest.replace(/^golden: .*\n/m, '') },
      '?quantize=uint8',
      '?quantize',
    ],
  ])('is refused %s', async (_, files, query, path) => {
    const { status, body } = await upload('m', files, [], query);
    expect({ status, path: body.errors[0].path }).toEqual({ status: 422, path });
  });
});

describe('an archive', () => {
  const place = join(folder, 'archive');
  const write = (path: string, content: string | Uint8Array) => {
    mkdirSync(join(place, path, '..'), { recursive: true });
    writeFileSync(join(place, path), content);
  };
  /** As `tar` makes it of the folder. */
  const tar = async (...more: string[]) => {
    const options = { cwd: place, encoding: 'buffer', maxBuffer: 1e8 } as const;
    return (await promisify(execFile)('tar', ['-c', ...more, '.'], options)).stdout;
  };
  function send(archive: Uint8Array): Promise<Answer> {
    const form = new FormData();
    form.append('archive', new Blob([Uint8Array.from(archive)]), 'model.tar.gz');
    return postVersion(stack, 'packed', form);
  }

  it('is as good as its files', async () => {
    for (const [path, content] of Object.entries(mnist)) write(path, content);
    const inFolder = Object.entries(mnist).map(([path, content]) => ({ path: `digits\\${path}`, content }));
    const withJunk = [...inFolder, { path: '__MACOSX/digits/._model.json', content: 'x' }];
    for (const archive of [await tar('-z'), await tar(), await tar('--transform=s,^,top/,'), zip(withJunk)]) {
      const { status, body } = await send(archive);
      expect(status).toBe(202);
      expect(body.sizeBytes).toBe((await versionOf('mnist', 1)).sizeBytes);
      await reaches('packed', body.version, 'ready');
    }
  });

  it('is refused with a link, with another name for a place outside, cut short, and as something else', async () => {
    const whole = await tar('-z');
    symlinkSync('/etc/hostname', join(place, 'link'));
    const linked = await send(await tar());
    expect(linked.body.errors[0]).toEqual({
      path: '/link',
      message: 'is a SymbolicLink: only files are taken',
    });
    rmSync(join(place, 'link'));
    const outside = await send(await tar('--transform=s,model.json,../model.json,', '-P'));
    expect(outside).toMatchObject({ status: 422, body: { code: 'invalid_input' } });
    for (const bad of [whole.subarray(0, 2000), Buffer.from('no archive'.repeat(200)), Buffer.alloc(0)]) {
      const { status, body } = await send(bad);
      expect({ status, path: body.errors?.[0].path }).toEqual({ status: 422, path: '/archive' });
    }
    expect(readdirSync(join(stack.dataDir, 'uploads'))).toEqual([]);
  });

  it('is refused with too many files, or with a topology that is too large to be one', async () => {
    write('model.json', Buffer.alloc(33 * 1024 * 1024, ' '));
    const { status, body } = await send(await tar('-z'));
    expect({ status, fault: body.errors?.[0] }).toEqual({
      status: 422,
      fault: { path: '/model.json', message: 'is larger than 33554432 bytes without its weights' },
    });
    rmSync(join(place, 'model.json'));
    for (let i = 0; i < 1000; i++) write(`many/${i}`, '');
    expect((await send(await tar('-z'))).body.errors[0]).toEqual({
      path: '',
      message: 'holds more than 1000 files',
    });
  });
});

describe('the worked example', () => {
  it('brings a tfjs model to a result, as it is written', async () => {
    const text = readFileSync(join(ROOT, 'deploy/guides/serve-a-model.md'), 'utf8');
    const [, block = ''] = /```sh\n(KEY=[\s\S]*?)```/.exec(text) ?? [];
    const place = join(folder, 'place');
    cpSync(join(ROOT, 'deploy/models/mnist/examples'), join(place, 'deploy/models/mnist/examples'), {
      recursive: true,
    });
    mkdirSync(join(place, '.sluice'));
    writeFileSync(join(place, '.sluice/api-key'), `${stack.key}\n`);
    for (const path of ['model.json', 'group1-shard1of1.bin'])
      cpSync(join(MNIST, path), join(place, 'digits', path));
    const script = block
      .replaceAll('http://127.0.0.1:8080', stack.url)
      .replaceAll(/\bdigits\b(?!\/)/g, 'brought');
    const { stdout } = await promisify(execFile)('bash', ['-ec', script], { cwd: place });
    const answers = stdout.split(/(?<=\})(?=\{)/).map((answer) => JSON.parse(answer));
    expect(answers).toMatchObject([
      { version: 1, state: 'pending' },
      { version: 1, signature: { outputs: [{ name: 'probabilities' }] } },
      { status: 'succeeded', model: { name: 'digits', version: 1 } },
    ]);
    const [probabilities] = answers[2].predictions;
    expect(probabilities.indexOf(Math.max(...probabilities))).toBe(7);
  });
});

describe('an upload is refused', () => {
  const sha256 = (content: string) => createHash('sha256').update(content).digest('hex');
  const digest = sha256('other');
  it.each<[string, string, Files, [string, string][], number, string, string, string]>([
    ['for a name that is none', 'Mnist', mnist, [], 422, 'invalid_input', '/name', 'lower-case'],
    [
      'with a path that leads out',
      'm',
      mnist,
      [['../x', '1']],
      422,
      'invalid_input',
      '/..~1x',
      'not a path inside',
    ],
    [
      'with an absolute path',
      'm',
      mnist,
      [['/etc/x', '1']],
      422,
      'invalid_input',
      '/~1etc~1x',
      'not a path inside',
    ],
    [
      'with a file twice',
      'm',
      mnist,
      [['model.json', '1']],
      422,
      'invalid_input',
      '/model.json',
      'there already',
    ],
    [
      'with a file for a folder',
      'm',
      mnist,
      [['model.json/x', '1']],
      422,
      'invalid_input',
      '/model.json~1x',
      'there',
    ],
    [
      'without a model',
      'm',
      { 'a.bin': 'x' },
      [],
      422,
      'invalid_input',
      '',
      'neither saved_model.pb nor model.json nor model.onnx',
    ],
    [
      'without its weights',
      'm',
      without('group1-shard1of1.bin'),
      [],
      422,
      'invalid_input',
      '/group1-shard1of1.bin',
      'is named by model.json and is not there',
    ],
    [
      'with weights cut short',
      'm',
      { ...mnist, 'group1-shard1of1.bin': 'xy' },
      [],
      422,
      'invalid_input',
      '/group1-shard1of1.bin',
      'has 2 bytes, the weights in model.json take 814120',
    ],
    [
      'with a model that is not JSON',
      'm',
      { ...mnist, 'model.json': '{"format": "layers-model"' },
      [],
      422,
      'invalid_input',
      '/model.json',
      'is not JSON',
    ],
    [
      'without its golden vectors',
      'm',
      without('golden.json'),
      [],
      422,
      'invalid_input',
      '/model.yaml/golden',
      'not sent',
    ],
    [
      'without what only a manifest can say',
      'm',
      without('model.yaml'),
      [],
      422,
      'invalid_input',
      '/model.yaml/signature',
      'is required',
    ],
    [
      'with a manifest that is no YAML',
      'm',
      { ...mnist, 'model.yaml': 'a: [' },
      [],
      422,
      'invalid_input',
      '/model.yaml',
      'line 1',
    ],
    [
      'for another model',
      'm',
      { ...mnist, 'model.yaml': `name: other\n${manifest}` },
      [],
      422,
      'invalid_input',
      '/model.yaml/name',
      'must be m',
    ],
    [
      'with other bytes than the manifest states',
      'm',
      { ...mnist, 'model.yaml': `${manifest}files: { model.json: ${digest} }\n` },
      [],
      422,
      'invalid_input',
      '/model.json',
      `states ${digest}`,
    ],
    [
      'with a field that no manifest has',
      'm',
      { ...mnist, 'model.yaml': `run: rm\n${manifest}` },
      [],
      422,
      'invalid_input',
      '/model.yaml/run',
      'not a field',
    ],
    [
      'with a program that is no SavedModel',
      'm',
      { 'saved_model.pb': 'x'.repeat(100) },
      [],
      422,
      'invalid_input',
      '/saved_model.pb',
      '',
    ],
  ])('%s', async (_, name, files, more, status, code, path, message) => {
    const answer = await upload(name, files, more);
    expect(answer).toMatchObject({ status, body: { code } });
    expect(answer.body.errors[0]).toEqual({ path, message: expect.stringContaining(message) });
    expect((await stack.request('GET', '/v1/models/m')).status).toBe(404);
  });

  it('naming every file that does not fit', async () => {
    const files = {
      ...mnist,
      'model.yaml': `${manifest}files: { model.json: ${digest}, gone.bin: ${digest} }\n`,
    };
    const { body } = await upload('m', files);
    expect(body.errors.map(({ path }: { path: string }) => path)).toEqual([
      '/model.json',
      '/gone.bin',
      '/golden.json',
      '/group1-shard1of1.bin',
    ]);
  });

  it('naming every fault of its manifest', async () => {
    const said = manifest.replace('maxBatchSize: 32', 'maxBatchSize: 0\n  preferredSizes: []');
    const { body } = await upload('m', { ...mnist, 'model.yaml': `colour: red\n${said}` });
    expect(body.errors.map(({ path }: { path: string }) => path).sort()).toEqual([
      '/model.yaml/batching/maxBatchSize',
      '/model.yaml/batching/preferredSizes',
      '/model.yaml/colour',
    ]);
  });

  it('naming the layers that it may not have', async () => {
    const text = new TextDecoder().decode(mnist['model.json'] as Uint8Array);
    const { status, body } = await upload('m', {
      ...mnist,
      'model.json': text.replaceAll('"class_name":"Dense"', '"class_name":"Lambda"'),
    });
    expect(status).toBe(422);
    expect(body.errors).toEqual([
      {
        path: '/model.json',
        message: expect.stringMatching(/layers that are not allowed: Lambda; a SavedModel or a graph model/),
      },
    ]);
  });

  it('and leaves nothing where it was received', () => {
    const uploads = join(stack.dataDir, 'uploads');
    expect(existsSync(uploads)).toBe(true);
    expect(readdirSync(uploads)).toEqual([]);
  });
});
