/** Sounds: decoded and resampled as soundfile and scipy do it, refused by name, and bounded before they cost anything. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeAudio } from '../../shared/audio/audio.js';
import { resample } from '../../shared/audio/resample.js';
import { readAudioHeader } from '../../shared/contract/audio/audio-header.js';
import type { Manifest, TensorSpec } from '../../shared/contract/models/manifest.js';
import { checkManifest } from '../../shared/contract/models/manifest-check.js';
import { createInputEncoder } from '../../shared/contract/tensors/input.js';
import { publishedSchemas } from '../../shared/contract/tensors/signature.js';
import { toNested, type Value } from '../../shared/contract/tensors/tensor.js';
import { readImageHeader } from '../../shared/images/image.js';
import { decodeSound } from '../../worker/inference/child/sounds.js';
import { floatsOf, RATE_PAIRS, SOUND_NAMES, soundFile, wavOf } from '../support/sounds.js';

const interleaved = (channels: readonly Float32Array[]): number[] =>
  Array.from(channels[0] ?? []).flatMap((_, i) => channels.map((channel) => channel[i] as number));

it.each(SOUND_NAMES)('decodes %s as soundfile does, bit by bit', (name) => {
  expect(interleaved(decodeAudio(soundFile(name)).channels)).toEqual(Array.from(floatsOf(`${name}.f32`)));
});

it.each(RATE_PAIRS)('resamples %i Hz to %i Hz as scipy does', (from, to) => {
  const expected = floatsOf(`resampled/${from}-${to}.f32`);
  const resampled = resample(floatsOf(`resampled/${from}-${to}.in.f32`), from, to);
  expect(resampled).toHaveLength(expected.length);
  const worst = resampled.reduce(
    (most, value, i) => Math.max(most, Math.abs(value - (expected[i] as number))),
    0,
  );
  expect(worst).toBeLessThan(1e-6);
});

it.each([
  [44_100, 12_000, 0],
  [44_100, 1000, 1],
  [8000, 1000, 1],
])('keeps of a tone at %i Hz and a pitch of %i Hz %i times its strength', (rate, pitch, kept) => {
  const tone = Float32Array.from({ length: rate }, (_, i) => Math.sin((2 * Math.PI * pitch * i) / rate));
  const middle = resample(tone, rate, 16_000).subarray(2000, 14_000);
  const strength = Math.sqrt(middle.reduce((sum, value) => sum + value ** 2, 0) / middle.length) * Math.SQRT2;
  expect(Math.abs(strength - kept)).toBeLessThan(0.002);
});

/** Bytes of a sound with some flipped or cut off. */
const damages = fc.record({
  name: fc.constantFrom(...SOUND_NAMES),
  length: fc.double({ min: 0, max: 1, noNaN: true }),
  flips: fc.array(fc.tuple(fc.nat(), fc.integer({ min: 1, max: 255 })), { maxLength: 4 }),
});

it('decodes damaged files to samples or refuses them, and never takes long', () => {
  fc.assert(
    fc.property(damages, ({ name, length, flips }) => {
      const bytes = Buffer.from(soundFile(name));
      for (const [place, bits] of flips)
        bytes[place % bytes.length] = (bytes[place % bytes.length] as number) ^ bits;
      const cut = bytes.subarray(0, Math.ceil(bytes.length * length));
      const startedMs = performance.now();
      try {
        const header = readAudioHeader(cut);
        if (header.frames * header.channels > 2 ** 20) return;
        const { channels } = decodeAudio(cut);
        expect(channels.map((channel) => channel.length)).toEqual(
          new Array(header.channels).fill(header.frames),
        );
      } catch (error) {
        expect((error as Error).message).toMatch(/^(is|has) /);
      }
      expect(performance.now() - startedMs).toBeLessThan(1000);
    }),
    { numRuns: 2000 },
  );
});

it('finds every flipped bit of the samples of a FLAC file by its checksums', () => {
  const bytes = soundFile('pcm_16.flac');
  const { start } = readAudioHeader(bytes);
  for (let at = start; at < bytes.length; at++) {
    const flipped = Buffer.from(bytes);
    flipped[at] = (flipped[at] as number) ^ 4;
    expect(() => decodeAudio(flipped), `byte ${at}`).toThrow(/is damaged|is cut off|has more than/);
  }
});

it('takes the length of a WAV from a pipe from its bytes', () => {
  const bytes = wavOf([16_384, -16_384]);
  bytes.writeUInt32LE(0xffffffff, 40);
  expect(decodeAudio(bytes).channels).toEqual([Float32Array.of(0.5, -0.5)]);
});

it('takes no chunk behind the samples of an RF64 for samples', () => {
  const whole = soundFile('rf64.wav');
  const tail = Buffer.from('LIST\x04\0\0\0abcd', 'latin1');
  expect(decodeAudio(Buffer.concat([whole, tail]))).toEqual(decodeAudio(whole));
});

const spec: TensorSpec = { name: 'sound', dtype: 'audio', shape: [null], sampleRate: 16_000 };
const manifestOf = (input: TensorSpec): Manifest => ({
  name: 'm',
  version: 1,
  format: 'layers',
  signature: { inputs: [input], outputs: [{ name: 'y', dtype: 'float32', shape: [1] }] },
  batching: { maxBatchSize: 1, maxDelayMs: 0 },
  files: { 'model.json': 'a'.repeat(64) },
});

async function encoded(bytes: Buffer, changes: Partial<TensorSpec> = {}): Promise<Value> {
  const encoder = createInputEncoder(manifestOf({ ...spec, ...changes }), readImageHeader);
  const [instance] = await encoder.encode([{ audio: { b64: bytes.toString('base64') } }]);
  return instance?.sound as Value;
}

const decoded = async (bytes: Buffer, changes: Partial<TensorSpec> = {}) =>
  toNested(decodeSound(await encoded(bytes, changes), { ...spec, ...changes }));

const flac = (edit: (bytes: Buffer) => void) => {
  const bytes = Buffer.from(soundFile('pcm_16.flac'));
  edit(bytes);
  return bytes;
};
const startsWith = (text: string) => Buffer.concat([Buffer.from(text, 'latin1'), Buffer.alloc(40)]);
const convert = (ends: string) => `\`ffmpeg -i input.${ends} -c:a pcm_s16le output.wav\` converts it`;

describe('a sound', () => {
  it('is mixed down, multiplied, and filled up with silence', async () => {
    expect(await decoded(wavOf([16_384, -8192]), { scale: 32_768 })).toEqual([16_384, -8192]);
    expect(await decoded(wavOf([16_384]), { shape: [3], preprocess: { samples: 'pad' } })).toEqual([
      0.5, 0, 0,
    ]);
    const stereo = floatsOf('pcm_16.wav.f32');
    const mono = (await decoded(soundFile('pcm_16.wav'), { sampleRate: 8000 })) as number[];
    expect(mono).toHaveLength(200);
    for (const [i, value] of mono.entries())
      expect(value).toBe(Math.fround(((stereo[2 * i] as number) + (stereo[2 * i + 1] as number)) / 2));
  });

  it('has its channels last or first, as the model does', async () => {
    const rows = (await decoded(soundFile('pcm_16.wav'), {
      shape: [null, 2],
      sampleRate: 8000,
    })) as number[][];
    expect(rows.flat()).toEqual(Array.from(floatsOf('pcm_16.wav.f32')));
    const planes = (await decoded(soundFile('pcm_16.wav'), {
      shape: [2, null],
      sampleRate: 8000,
    })) as number[][];
    expect(planes).toEqual([0, 1].map((channel) => rows.map((row) => row[channel])));
    expect(await decoded(wavOf([8192]), { shape: [1, 1] })).toEqual([[0.25]]);
  });

  it('has as many samples as the header promised once it is resampled', async () => {
    for (const rate of [8000, 11_025, 44_100, 48_000, 192_000]) {
      const samples = new Array<number>(1001).fill(16_384);
      expect(await decoded(wavOf(samples, rate))).toHaveLength(Math.ceil((1001 * 16_000) / rate));
    }
  });

  const AUDIO = '/instances/0/audio';
  const CUT = 'is a WAV file that is cut off: 2 of its 4 bytes of samples are there';
  it.each<[string, Buffer, Partial<TensorSpec>, string, string]>([
    ['nothing', Buffer.alloc(0), {}, '/b64', 'is empty, not a WAV or FLAC file'],
    ['a text', Buffer.from('no sound'), {}, '/b64', 'is not a WAV or FLAC file'],
    [
      'an MP3',
      startsWith('ID3\x04'),
      {},
      '/b64',
      `is an MP3 file, not a WAV or FLAC file; ${convert('mp3')}`,
    ],
    ['a bare MP3', startsWith('\xff\xfb\x90'), {}, '/b64', convert('mp3')],
    ['an Ogg', startsWith('OggS'), {}, '/b64', `is an Ogg file, not a WAV or FLAC file; ${convert('ogg')}`],
    ['an M4A', startsWith('\0\0\0\x20ftypM4A '), {}, '/b64', convert('m4a')],
    [
      'a Wave64',
      startsWith('riff.\x91\xcf\x11'),
      {},
      '/b64',
      `is a Sony Wave64 file, not a WAV or FLAC file; ${convert('w64')}`,
    ],
    ['an AAC', startsWith('\xff\xf1'), {}, '/b64', convert('aac')],
    ['a WebM', startsWith('\x1aE\xdf\xa3'), {}, '/b64', convert('webm')],
    [
      'µ-law',
      wavOf([1], 8000, { 20: 7 }),
      {},
      '/b64',
      `is a WAV file with µ-law, not PCM; ${convert('wav')}`,
    ],
    [
      '12 bits',
      wavOf([1], 8000, { 34: 12 }),
      {},
      '/b64',
      'is a WAV file of 12-bit integers; 8, 16, 24, 32 bits',
    ],
    ['a cut WAV', wavOf([1, 2]).subarray(0, 46), {}, '/b64', CUT],
    [
      'FLAC of 32 bits',
      // The bits of a sample, less one, end a field of four bytes.
      flac((b) => b.writeUInt32BE((b.readUInt32BE(18) | 0x1f0) >>> 0, 18)),
      {},
      '/b64',
      `is a FLAC file of 32 bits; at most 24 are taken; ${convert('flac')}`,
    ],
    [
      'an RF64 cut off',
      soundFile('rf64.wav').subarray(0, -4),
      {},
      '/b64',
      'is cut off: 796 of its 800 bytes',
    ],
    ['a WAV without samples', wavOf([]), {}, '', 'has no samples'],
    [
      'a WAV cut in its header',
      wavOf([1]).subarray(0, 30),
      {},
      '/b64',
      'is a WAV file whose header is cut off',
    ],
    ['a rate of 0', wavOf([1], 0), {}, '/b64', 'is a WAV file whose header is damaged'],
    ['a rate of a liar', wavOf([1], 4_000_000), {}, '', 'has 4000000 samples a second; from 1000 to 192000'],
    [
      'FLAC without a length',
      flac((b) => b.fill(0, 22, 26)),
      {},
      '/b64',
      'does not say how long it is; `ffmpeg',
    ],
    ['FLAC with a long lie', flac((b) => b.fill(255, 22, 26)), {}, '', 'lasts 536900 s, longer than 300 s'],
    [
      'what lasts too long',
      wavOf(new Array(1601).fill(0)),
      { maxSeconds: 0.1 },
      '',
      'lasts 0.1001 s, longer than 0.1 s',
    ],
    [
      'a wrong length',
      wavOf([1, 2]),
      { shape: [3] },
      '',
      'has 2 samples at 16000 Hz (0.000125 s); the model takes exactly 3',
    ],
    [
      'too much to pad',
      wavOf([1, 2, 3, 4]),
      { shape: [3], preprocess: { samples: 'pad' } },
      '',
      'has 4 samples at 16000 Hz (0.00025 s); the model takes at most 3',
    ],
    [
      'too much for a varying size',
      wavOf([1, 2]),
      { maxShape: [1] },
      '',
      'the model takes at most 1 samples',
    ],
    ['other channels', wavOf([1]), { shape: [null, 2] }, '', 'has 1 channel; the model takes 2'],
  ])('is refused early: %s', async (_, bytes, changes, at, message) => {
    await expect(encoded(bytes, changes)).rejects.toMatchObject({
      code: 'invalid_input',
      faults: [{ path: `${AUDIO}${at}`, message: expect.stringContaining(message) }],
    });
  });

  it('is published as what it is', () => {
    const { instance } = publishedSchemas(manifestOf(spec));
    expect(instance).toMatchObject({
      $defs: { value: { anyOf: [{ required: ['audio'] }, { required: ['audio'] }, { required: ['file'] }] } },
    });
  });
});

describe('the manifest of a sound', () => {
  const image: TensorSpec = { name: 'x', dtype: 'image', shape: [2, 2, 3] };
  it.each<[string, TensorSpec, string | null]>([
    ['with samples alone', spec, null],
    ['with channels', { ...spec, shape: [null, 2] }, null],
    ['with padding', { ...spec, padding: { sizes: [16_000] } }, null],
    ['without a rate', { name: 'x', dtype: 'audio', shape: [null] }, 'sampleRate'],
    ['with three dimensions', { ...spec, shape: [1, 2, 3] }, 'shape'],
    ['with two lengths', { ...spec, shape: [null, null] }, 'shape'],
    ['that is filled up to no length', { ...spec, preprocess: { samples: 'pad' } }, 'preprocess/samples'],
    ['that is resized', { ...spec, preprocess: { resize: 'fill' } }, 'preprocess/resize'],
    ['of a picture', { ...image, sampleRate: 8000 }, 'sampleRate'],
    ['of a long picture', { ...image, maxSeconds: 1 }, 'maxSeconds'],
    ['of a filled picture', { ...image, preprocess: { samples: 'pad' } }, 'preprocess/samples'],
    ['that is shared', { ...spec, batch: 'shared' }, 'batch'],
  ])('%s', (_, input, fault) => {
    const paths = checkManifest(manifestOf(input)).map(({ path }) => path);
    expect(paths).toEqual(fault === null ? [] : [`/signature/inputs/0/${fault}`]);
  });

  it('is refused for an output', () => {
    const { signature, ...manifest } = manifestOf(spec);
    const outputs = [{ ...spec, name: 'y' }];
    expect(checkManifest({ ...manifest, signature: { ...signature, outputs } })).toMatchObject([
      { path: '/signature/outputs/0/dtype', message: 'is audio, which is for inputs' },
    ]);
  });
});
