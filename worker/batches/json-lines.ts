/**
 * The lines of a file of JSON lines, read as a stream and handed on in chunks.
 */
export interface Line {
  /** As editors count, from 1. */
  number: number;
  /** Without its end; null for one that is longer than the limit. */
  bytes: Buffer | null;
}

const NEWLINE = 0x0a;
const BYTE_ORDER_MARK = Buffer.from([0xef, 0xbb, 0xbf]);
/** A chunk is written as one part of the results, and two are open at once: this bounds jobs and memory in flight. */
export const CHUNK_LINES = 500;
const CHUNK_BYTES = 8 * 1024 * 1024;

/** Lines that hold something; of a longer one than `maxBytes` no more than that is ever kept. */
export async function* readLines(source: AsyncIterable<Buffer>, maxBytes: number): AsyncGenerator<Line> {
  let number = 1;
  let rest: Buffer[] = [];
  let size = 0;

  const keep = (bytes: Buffer) => {
    size += bytes.length;
    if (size <= maxBytes) rest.push(bytes);
    else rest = [];
  };
  const close = (): Line | null => {
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
      const line = close();
      if (line) yield line;
    }
    if (start < bytes.length) keep(bytes.subarray(start));
  }
  if (size === 0) return;
  const last = close();
  if (last) yield last;
}

/** Without the lines up to number `after`. */
export async function* inChunks(lines: AsyncIterable<Line>, after: number): AsyncGenerator<Line[]> {
  let chunk: Line[] = [];
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
