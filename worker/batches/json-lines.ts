/**
 * Reads a file of JSON lines (jsonlines.org) as a stream, and groups the lines into chunks.
 *
 * Memory is bounded: a line longer than the limit is dropped while it is read, and a chunk ends at `CHUNK_LINES` lines or
 * `CHUNK_BYTES` bytes.
 */
export interface JsonLine {
  /** The line's number in the file, counted from 1 as editors do. */
  number: number;
  /** The line without its line feed; null when it is longer than the limit. */
  bytes: Buffer | null;
}

const NEWLINE = 0x0a;
const BYTE_ORDER_MARK = Buffer.from([0xef, 0xbb, 0xbf]);
/** A chunk becomes one part of the results, and two chunks are open at once: this bounds jobs and memory in flight. */
export const CHUNK_LINES = 500;
const CHUNK_BYTES = 8 * 1024 * 1024;

/**
 * Yields the lines of `source` that are not blank. A byte order mark at the start of the file is removed. A line of more
 * than `maxBytes` bytes comes with `bytes: null`; no more than `maxBytes` of it are kept in memory.
 */
export async function* readJsonLines(
  source: AsyncIterable<Buffer>,
  maxBytes: number,
): AsyncGenerator<JsonLine> {
  let number = 1;
  let rest: Buffer[] = [];
  let size = 0;

  const keep = (bytes: Buffer) => {
    size += bytes.length;
    if (size <= maxBytes) rest.push(bytes);
    else rest = [];
  };
  const endLine = (): JsonLine | null => {
    const line = { number, bytes: size <= maxBytes ? Buffer.concat(rest) : null };
    number++;
    rest = [];
    size = 0;
    if (line.number === 1 && line.bytes?.subarray(0, 3).equals(BYTE_ORDER_MARK))
      line.bytes = line.bytes.subarray(3);
    return line.bytes && isBlank(line.bytes) ? null : line;
  };

  for await (const bytes of source) {
    let start = 0;
    for (let end = bytes.indexOf(NEWLINE); end >= 0; end = bytes.indexOf(NEWLINE, start)) {
      keep(bytes.subarray(start, end));
      start = end + 1;
      const line = endLine();
      if (line) yield line;
    }
    if (start < bytes.length) keep(bytes.subarray(start));
  }
  if (size === 0) return;
  const last = endLine();
  if (last) yield last;
}

/** Groups lines into chunks and skips the lines up to number `after`, which an earlier driver has dealt with. */
export async function* chunkLines(lines: AsyncIterable<JsonLine>, after: number): AsyncGenerator<JsonLine[]> {
  let chunk: JsonLine[] = [];
  let bytes = 0;
  for await (const line of lines) {
    if (line.number <= after) continue;
    chunk.push(line);
    bytes += line.bytes?.length ?? 0;
    if (chunk.length < CHUNK_LINES && bytes < CHUNK_BYTES) continue;
    yield chunk;
    chunk = [];
    bytes = 0;
  }
  if (chunk.length > 0) yield chunk;
}

function isBlank(bytes: Buffer): boolean {
  return bytes.every((byte) => byte === 0x20 || byte === 0x09 || byte === 0x0d);
}
