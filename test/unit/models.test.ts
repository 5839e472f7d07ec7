/** The bundled models, as they lie in the repository: valid manifests, untouched files, examples that fit. */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import type { Golden, Manifest } from '../../shared/contract/models/manifest.js';
import { checkManifest } from '../../shared/contract/models/manifest-check.js';
import { createInputEncoder } from '../../shared/contract/tensors/input.js';
import { elementsOf } from '../../shared/contract/tensors/tensor.js';
import { readImageHeader } from '../../shared/images/image.js';

const MODELS = 'deploy/models';
const MNIST_LIMIT_BYTES = 2_000_000;
const GOLDEN_LIMIT_BYTES = 100_000;

interface Body<Instance = unknown> {
  model: string;
  instances: Instance[];
}

interface ImageValue {
  image: { b64: string };
}

describe.each(['mnist', 'upscale'])('the bundled model %s', (name) => {
  const folder = join(MODELS, name, '1');
  const manifest = parse(readFileSync(join(folder, 'model.yaml'), 'utf8')) as Manifest;

  it('has a valid manifest that bears its name and version', () => {
    expect(checkManifest(manifest)).toEqual([]);
    expect(manifest).toMatchObject({ name, version: 1 });
  });

  it('has exactly the files that the manifest lists, each with its sha256', () => {
    expect(Object.keys(manifest.files).sort()).toEqual(
      readdirSync(folder)
        .filter((path) => path !== 'model.yaml')
        .sort(),
    );
    for (const [path, digest] of Object.entries(manifest.files)) {
      expect(sha256(readFileSync(join(folder, path))), path).toBe(digest);
    }
  });

  it('lists every file of weights that model.json names', () => {
    const { weightsManifest } = readJson(join(folder, 'model.json')) as {
      weightsManifest: { paths: string[] }[];
    };
    const paths = weightsManifest.flatMap((group) => group.paths);
    expect(Object.keys(manifest.files)).toEqual(expect.arrayContaining(paths));
  });

  it('has one golden output for each golden instance, with every output of the signature', () => {
    const golden = goldenOf(folder, manifest);
    expect(golden.instances.length).toBeGreaterThan(0);
    expect(golden.outputs).toHaveLength(golden.instances.length);
    const names = manifest.signature.outputs.map((output) => output.name);
    for (const output of golden.outputs) expect(Object.keys(output)).toEqual(names);
    expect(statSync(join(folder, manifest.golden ?? '')).size).toBeLessThan(GOLDEN_LIMIT_BYTES);
  });

  it('accepts its own examples and golden instances', async () => {
    const encoder = createInputEncoder(manifest, readImageHeader);
    const golden = goldenOf(folder, manifest);
    expect(await encoder.encode(golden.instances)).toHaveLength(golden.instances.length);
    const examples = join(MODELS, name, 'examples');
    for (const file of readdirSync(examples).filter((path) => path.endsWith('.json'))) {
      const body = readJson(join(examples, file)) as Body;
      expect(body.model).toBe(name);
      expect(await encoder.encode(body.instances), file).toHaveLength(body.instances.length);
    }
  });
});

describe('mnist', () => {
  const root = join(MODELS, 'mnist');
  const manifest = parse(readFileSync(join(root, '1', 'model.yaml'), 'utf8')) as Manifest;

  it('says how well it reads, and says so of at least 97.5 % of the test digits', () => {
    expect(manifest.provenance?.testAccuracy).toBeGreaterThanOrEqual(0.975);
    expect(manifest.provenance).toMatchObject({ epochs: 5, trainDigits: 60_000, testDigits: 10_000 });
  });

  it('takes less than 2 MB with its examples', () => {
    const files = readdirSync(root, { recursive: true, withFileTypes: true }).filter((entry) =>
      entry.isFile(),
    );
    const bytes = files.reduce((sum, file) => sum + statSync(join(file.parentPath, file.name)).size, 0);
    expect(bytes).toBeLessThan(MNIST_LIMIT_BYTES);
  });

  it('gives golden probabilities that name the digit of their place', () => {
    const golden = goldenOf(join(root, '1'), manifest);
    const digits = golden.outputs.map((output) => {
      const probabilities = Array.from(toFloats((output.probabilities as { b64: string }).b64));
      expect(probabilities.reduce((sum, probability) => sum + probability, 0)).toBeCloseTo(1, 5);
      return probabilities.indexOf(Math.max(...probabilities));
    });
    expect(digits).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  it.each(readdirSync(join(root, 'examples')))('has an example %s of 784 pixels from 0 to 1', (file) => {
    const body = readJson(join(root, 'examples', file)) as Body<number[]>;
    expect(body.instances).toHaveLength(file === 'several.json' ? 8 : 1);
    for (const image of body.instances) {
      expect(image).toHaveLength(784);
      expect(image.every((pixel) => pixel >= 0 && pixel <= 1)).toBe(true);
    }
  });
});

describe('upscale', () => {
  const root = join(MODELS, 'upscale');
  const manifest = parse(readFileSync(join(root, '1', 'model.yaml'), 'utf8')) as Manifest;

  it('carries the licence of its weights', () => {
    expect(readFileSync(join(root, '1', 'LICENSE'), 'utf8')).toMatch(/MIT License[\s\S]*Kevin Scott/);
  });

  it('has golden pixels for a picture of twice the width and height', async () => {
    const golden = goldenOf(join(root, '1'), manifest);
    const { width, height } = await sharp(decode(golden.instances[0] as ImageValue)).metadata();
    const pixels = toFloats((golden.outputs[0] as { image: { b64: string } }).image.b64);
    expect(pixels).toHaveLength(elementsOf([2 * height, 2 * width, 3]));
  });

  it('has an example that sends the picture beside it', () => {
    const body = readJson(join(root, 'examples', 'picture.json')) as {
      model: string;
      instances: ImageValue[];
    };
    expect(body.model).toBe('upscale');
    expect(decode(body.instances[0] as ImageValue)).toEqual(
      readFileSync(join(root, 'examples', 'picture.png')),
    );
  });
});

function goldenOf(folder: string, manifest: Manifest): Golden {
  return readJson(join(folder, manifest.golden ?? 'golden.json')) as Golden;
}

function readJson(path: string): unknown {
  return JSON.parse(readFileSync(path, 'utf8'));
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function decode(value: ImageValue): Buffer {
  return Buffer.from(value.image.b64, 'base64');
}

function toFloats(b64: string): Float32Array {
  return new Float32Array(Uint8Array.from(Buffer.from(b64, 'base64')).buffer);
}
