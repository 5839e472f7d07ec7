/**
 * The headers of sounds: WAV (RIFF WAVE, with WAVE_FORMAT_EXTENSIBLE; RF64 and BW64, ITU-R BS.2088) and FLAC (RFC 9639).
 *
 * Promises: no sample is read, and no size that a header states is believed where the bytes can tell it. The formats are read in
 * plain JavaScript, so the contract needs no library for them.
 */
import { conversionOf, whyNoAudio } from './foreign-audio.js';

export interface AudioHeader {
  format: 'wav' | 'flac';
  /** How one sample is stored; FLAC holds integers only. */
  encoding: 'integer' | 'float';
  bits: number;
  channels: number;
  /** In Hz. */
  sampleRate: number;
  /** Samples of each channel: those that lie in a WAV file, those that a FLAC file announces. */
  frames: number;
  /** Where the samples begin, in bytes. */
  start: number;
}

/**
 * Returns what the header says.
 * @throws {Error} whose message is for the caller, when the bytes are no sound that can be decoded.
 */
export function readAudioHeader(bytes: Uint8Array): AudioHeader {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (WAVS.has(textAt(bytes, 0)) && textAt(bytes, 8) === 'WAVE') return readWav(bytes, view);
  if (textAt(bytes, 0) === 'fLaC') return readFlac(view);
  throw new Error(whyNoAudio(bytes));
}

type WavFormat = Pick<AudioHeader, 'encoding' | 'bits' | 'channels' | 'sampleRate'>;

/** The marks of WAV files: the plain one, and those of files whose lengths may take 64 bits. */
const WAVS: ReadonlySet<string> = new Set(['RIFF', 'RF64', 'BW64']);
const CHUNK_HEADER = 8;
/** A program that writes to a pipe does not know the length yet, and leaves the largest one or none. */
const UNKNOWN_LENGTHS: readonly number[] = [0xffffffff, 0x7fffffff, 0];

function readWav(bytes: Uint8Array, view: DataView): AudioHeader {
  let format: WavFormat | null = null;
  let wideLength: number | null = null;
  for (let at = 12; at + CHUNK_HEADER <= bytes.length; ) {
    const id = textAt(bytes, at);
    const stated = view.getUint32(at + 4, true);
    const start = at + CHUNK_HEADER;
    const left = bytes.length - start;
    // The chunk `ds64` holds the length of the data, whose own field is then full of ones.
    const length = id === 'data' && stated === 0xffffffff ? (wideLength ?? stated) : stated;
    if (id === 'ds64' && left >= 16) wideLength = Number(view.getBigUint64(start + 8, true));
    if (id === 'fmt ') format = readWavFormat(view, start, Math.min(length, left));
    if (id === 'data') {
      if (!format) break;
      const isUnknown = UNKNOWN_LENGTHS.includes(length);
      if (!isUnknown && length > left)
        throw new Error(`is a WAV file that is cut off: ${left} of its ${length} bytes of samples are there`);
      const frameBytes = format.channels * (format.bits / 8);
      return {
        format: 'wav',
        ...format,
        frames: Math.floor((isUnknown ? left : length) / frameBytes),
        start,
      };
    }
    // Chunks begin at even places.
    at = start + length + (length % 2);
  }
  throw new Error(
    `is a WAV file whose header is cut off or damaged: it has no ${format ? 'data' : 'format'}`,
  );
}

const EXTENSIBLE = 0xfffe;
/** The last 14 bytes of the identifiers whose first two are the code of a format. */
const SUBFORMAT_TAIL = '000000001000800000aa00389b71';
const CODECS: Readonly<Record<number, string>> = {
  2: 'ADPCM',
  6: 'A-law',
  7: 'µ-law',
  17: 'ADPCM',
  49: 'GSM',
  85: 'MP3',
  255: 'AAC',
};
const BITS: Readonly<Record<AudioHeader['encoding'], readonly number[]>> = {
  integer: [8, 16, 24, 32],
  float: [32, 64],
};

function readWavFormat(view: DataView, at: number, length: number): WavFormat {
  if (length < 16) throw new Error('is a WAV file whose header is cut off or damaged');
  const [code, channels, sampleRate] = [
    wavCode(view, at, length),
    view.getUint16(at + 2, true),
    view.getUint32(at + 4, true),
  ];
  const [frameBytes, bits] = [view.getUint16(at + 12, true), view.getUint16(at + 14, true)];
  const encoding = code === 1 ? 'integer' : code === 3 ? 'float' : null;
  if (!encoding)
    throw new Error(
      `is a WAV file with ${CODECS[code] ?? `samples of format ${code}`}, not PCM; ${conversionOf('wav')}`,
    );
  if (!BITS[encoding].includes(bits))
    throw new Error(
      `is a WAV file of ${bits}-bit ${encoding}s; ${BITS[encoding].join(', ')} bits are taken; ${conversionOf('wav')}`,
    );
  if (channels === 0 || sampleRate === 0 || frameBytes !== channels * (bits / 8))
    throw new Error(
      `is a WAV file whose header is damaged: ${channels} channels of ${bits} bits in ${frameBytes} bytes, at ${sampleRate} Hz`,
    );
  return { encoding, bits, channels, sampleRate };
}

/** Returns the code of the format, also where an extensible header has it in an identifier. */
function wavCode(view: DataView, at: number, length: number): number {
  const code = view.getUint16(at, true);
  if (code !== EXTENSIBLE || length < 40) return code;
  const tail = Buffer.from(view.buffer, view.byteOffset + at + 26, 14).toString('hex');
  return tail === SUBFORMAT_TAIL ? view.getUint16(at + 24, true) : code;
}

const STREAMINFO_BYTES = 34;

function readFlac(view: DataView): AudioHeader {
  const info = 8;
  const damaged = 'is a FLAC file whose header is cut off or damaged';
  if (view.byteLength < info + STREAMINFO_BYTES || (view.getUint8(4) & 0x7f) !== 0) throw new Error(damaged);
  const packed = view.getUint32(info + 10);
  const sampleRate = packed >>> 12;
  const channels = ((packed >>> 9) & 7) + 1;
  const bits = ((packed >>> 4) & 31) + 1;
  const frames = (packed & 15) * 2 ** 32 + view.getUint32(info + 14);
  if (sampleRate === 0 || bits < 4) throw new Error(damaged);
  if (bits > 24)
    throw new Error(`is a FLAC file of ${bits} bits; at most 24 are taken; ${conversionOf('flac')}`);
  if (frames === 0)
    throw new Error(`is a FLAC file that does not say how long it is; ${conversionOf('flac')}`);
  return {
    format: 'flac',
    encoding: 'integer',
    bits,
    channels,
    sampleRate,
    frames,
    start: startOf(view, damaged),
  };
}

/** Returns where the blocks of metadata end. */
function startOf(view: DataView, damaged: string): number {
  for (let at = 4; at + 4 <= view.byteLength; ) {
    const head = view.getUint32(at);
    at += 4 + (head & 0xffffff);
    if (head >>> 31 === 1) return at;
  }
  throw new Error(damaged);
}

function textAt(bytes: Uint8Array, at: number): string {
  return Buffer.from(bytes.subarray(at, at + 4)).toString('latin1');
}
