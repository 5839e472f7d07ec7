/**
 * Tells what bytes are that are no WAV or FLAC file, from how they begin, and the command that converts them.
 */

/** How files begin, by what they are; `at` is where, 0 unless said. `ends` is how ffmpeg knows them. */
const SIGNATURES: readonly { name: string; bytes: string; at?: number; ends?: string }[] = [
  { name: 'an Ogg', bytes: 'OggS', ends: 'ogg' },
  { name: 'an MP3', bytes: 'ID3', ends: 'mp3' },
  { name: 'an MP3', bytes: '\xff\xfb', ends: 'mp3' },
  { name: 'an MP3', bytes: '\xff\xfa', ends: 'mp3' },
  { name: 'an MP3', bytes: '\xff\xf3', ends: 'mp3' },
  { name: 'an MP3', bytes: '\xff\xf2', ends: 'mp3' },
  { name: 'an AAC', bytes: '\xff\xf1', ends: 'aac' },
  { name: 'an AAC', bytes: '\xff\xf9', ends: 'aac' },
  { name: 'an M4A', bytes: 'ftypM4A', at: 4, ends: 'm4a' },
  { name: 'an MP4', bytes: 'ftyp', at: 4, ends: 'mp4' },
  { name: 'a WebM', bytes: '\x1aE\xdf\xa3', ends: 'webm' },
  { name: 'an AIFF', bytes: 'AIF', at: 8, ends: 'aiff' },
  { name: 'a CAF', bytes: 'caff', ends: 'caf' },
  { name: 'an AMR', bytes: '#!AMR', ends: 'amr' },
  { name: 'a WMA', bytes: '0&\xb2u', ends: 'wma' },
  { name: 'an AU', bytes: '.snd', ends: 'au' },
  { name: 'a Sony Wave64', bytes: 'riff.\x91\xcf\x11', ends: 'w64' },
  { name: 'a big-endian WAV', bytes: 'RIFX', ends: 'wav' },
  { name: 'an AVI', bytes: 'AVI ', at: 8, ends: 'avi' },
  { name: 'a MIDI', bytes: 'MThd' },
  { name: 'a zip', bytes: 'PK\x03\x04' },
  { name: 'an HTML or XML', bytes: '<' },
  { name: 'a base64 text (it was encoded twice)', bytes: 'UklGR' },
  { name: 'a base64 text (it was encoded twice)', bytes: 'ZkxhQ' },
  { name: 'a data URI (it was encoded once more)', bytes: 'data:' },
];

/** Returns the command that makes a WAV file of 16 bits of one that ends in `ends`. */
export function conversionOf(ends: string): string {
  return `\`ffmpeg -i input.${ends} -c:a pcm_s16le output.wav\` converts it`;
}

/** Returns why bytes are no sound, for the one who sent them. */
export function whyNoAudio(bytes: Uint8Array): string {
  if (bytes.length === 0) return 'is empty, not a WAV or FLAC file';
  const head = Buffer.from(bytes.subarray(0, 16)).toString('latin1');
  const foreign = SIGNATURES.find(({ bytes: start, at = 0 }) => head.startsWith(start, at));
  if (!foreign) return 'is not a WAV or FLAC file';
  const cure = foreign.ends === undefined ? '' : `; ${conversionOf(foreign.ends)}`;
  return `is ${foreign.name} file, not a WAV or FLAC file${cure}`;
}
