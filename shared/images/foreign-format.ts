/**
 * Tells what bytes are that cannot be opened as an image, from how they begin. A sender who is told the name knows what to do.
 */

/** How files begin, by what they are; `at` is where, 0 unless said. `frames` is how ffmpeg knows those that hold many pictures. */
const SIGNATURES: readonly { name: string; bytes: string; at?: number; frames?: string }[] = [
  { name: 'a GIF', bytes: 'GIF8', frames: 'gif' },
  { name: 'a TIFF', bytes: 'II*\0', frames: 'tiff' },
  { name: 'a TIFF', bytes: 'MM\0*', frames: 'tiff' },
  { name: 'a TIFF', bytes: 'II+\0' },
  { name: 'an AVIF', bytes: 'ftypavi', at: 4 },
  { name: 'a HEIC', bytes: 'ftyphe', at: 4 },
  { name: 'a HEIC', bytes: 'ftypmif1', at: 4 },
  { name: 'a HEIC', bytes: 'ftypmsf1', at: 4 },
  { name: 'a QuickTime video', bytes: 'ftypqt', at: 4, frames: 'mov' },
  { name: 'an MP4 video', bytes: 'ftyp', at: 4, frames: 'mp4' },
  { name: 'a WebM or Matroska video', bytes: '\x1aE\xdf\xa3', frames: 'webm' },
  { name: 'an AVI video', bytes: 'AVI ', at: 8, frames: 'avi' },
  { name: 'an MPEG video', bytes: '\0\0\x01\xba', frames: 'mpg' },
  { name: 'a JPEG XL', bytes: '\xff\x0a' },
  { name: 'a JPEG XL', bytes: 'JXL ', at: 4 },
  { name: 'a JPEG 2000', bytes: 'jP  ', at: 4 },
  { name: 'a BMP', bytes: 'BM' },
  { name: 'an icon', bytes: '\0\0\x01\0' },
  { name: 'a PSD', bytes: '8BPS' },
  { name: 'a PDF', bytes: '%PDF' },
  { name: 'a zip', bytes: 'PK\x03\x04' },
  { name: 'an SVG', bytes: '<svg' },
  { name: 'an HTML or XML', bytes: '<' },
  { name: 'a base64 text (it was encoded twice)', bytes: '/9j/' },
  { name: 'a base64 text (it was encoded twice)', bytes: 'iVBORw' },
  { name: 'a data URI (it was encoded once more)', bytes: 'data:' },
];
/** How files of the formats begin that are opened. */
const OPENED: readonly { name: string; bytes: string; at?: number }[] = [
  { name: 'JPEG', bytes: '\xff\xd8\xff' },
  { name: 'PNG', bytes: '\x89PNG' },
  { name: 'WebP', bytes: 'WEBP', at: 8 },
];
const WANTED = 'a JPEG, PNG or WebP file';

/** Returns why bytes whose header cannot be read are no image, for the one who sent them. */
export function whyNoImage(bytes: Uint8Array): string {
  if (bytes.length === 0) return `is empty, not ${WANTED}`;
  const head = Buffer.from(bytes.subarray(0, 16)).toString('latin1');
  const match = ({ bytes: start, at = 0 }: { bytes: string; at?: number }) => head.startsWith(start, at);
  const opened = OPENED.find(match);
  if (opened) return `is a ${opened.name} file whose header is cut off or damaged`;
  const foreign = SIGNATURES.find(match);
  const cure =
    foreign?.frames && `; \`ffmpeg -i input.${foreign.frames} frame-%03d.png\` makes pictures of it`;
  return `is ${foreign ? `${foreign.name} file, ` : ''}not ${WANTED}${cure ?? ''}`;
}
