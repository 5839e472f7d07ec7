/**
 * Telling from its first bytes that a file holds no lines of jobs, so that its sender hears it at once, and not from each line.
 */

/** So much of a file is looked at. */
export const HEAD_BYTES = 4096;

const GZIP = Buffer.from([0x1f, 0x8b]);

/**
 * Returns why a file cannot be the input of a batch; null where its lines are worth a look.
 *
 * @param head the first `HEAD_BYTES` of the file, or all of it where it is shorter
 */
export function whyNoLines(head: Buffer, sizeBytes: number): string | null {
  if (head.subarray(0, 2).equals(GZIP)) return 'is compressed with gzip; it must be JSON lines as they are';
  if (isUtf16(head)) return 'is UTF-16; it must be UTF-8';
  const text = head
    .toString('utf8')
    .replace(/^\ufeff/, '')
    .trimStart();
  if (text === '') return sizeBytes <= head.length ? 'has no lines' : null;
  if (text.startsWith('['))
    return 'is a JSON array; it must hold one JSON object a line, without brackets around them';
  if (/^\{\s*\n/.test(text)) return 'has one JSON object over several lines; each must stand on one line';
  return null;
}

/** JSON begins with ASCII, whose halves in UTF-16 are zeros. */
function isUtf16([first, second]: Buffer): boolean {
  const isMarked = (first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff);
  return isMarked || first === 0 || second === 0;
}
