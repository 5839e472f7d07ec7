/** Reading a file of JSON lines as a stream, and grouping its lines into chunks. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CHUNK_LINES, chunkLines, type JsonLine, readJsonLines } from '../../worker/batches/json-lines.js';

async function* inPieces(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let start = 0; start < bytes.length; start += size) yield bytes.subarray(start, start + size);
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

const read = async (text: string, { size = 7, maxBytes = 1000 } = {}) =>
  (await all(readJsonLines(inPieces(Buffer.from(text), size), maxBytes))).map(
    ({ number, bytes }) => [number, bytes?.toString() ?? null] as const,
  );

describe('readJsonLines reads lines of a stream', () => {
  it.each([
    ['', []],
    ['\n\n', []],
    ['a', [[1, 'a']]],
    [
      'a\nb\n',
      [
        [1, 'a'],
        [2, 'b'],
      ],
    ],
    [
      'a\r\n\r\n \t\nb',
      [
        [1, 'a\r'],
        [4, 'b'],
      ],
    ],
    [
      '\u{feff}a\n\u{feff}b',
      [
        [1, 'a'],
        [2, '\u{feff}b'],
      ],
    ],
    ['\u{feff}\na', [[2, 'a']]],
  ])('%j', async (text, expected) => {
    expect(await read(text)).toEqual(expected);
  });

  it('reads the same lines however the stream is cut into pieces', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.string({ unit: fc.constantFrom('a', 'é', ' ', '"') })),
        fc.integer({ min: 1, max: 50 }),
        async (lines, size) => {
          const expected = lines.flatMap((line, index) => (line.trim() === '' ? [] : [[index + 1, line]]));
          expect(await read(lines.join('\n'), { size })).toEqual(expected);
        },
      ),
    );
  });

  it('reports a line that is too long, and reads the lines around it', async () => {
    const long = 'x'.repeat(11);
    expect(await read(`a\n${long}\n${'y'.repeat(10)}\n${long}`, { maxBytes: 10 })).toEqual([
      [1, 'a'],
      [2, null],
      [3, 'y'.repeat(10)],
      [4, null],
    ]);
  });
});

describe('chunkLines', () => {
  async function* numbered(count: number, size: number): AsyncGenerator<JsonLine> {
    for (let number = 1; number <= count; number++) yield { number, bytes: Buffer.alloc(size) };
  }
  const chunk = async (count: number, size: number, after = 0) =>
    (await all(chunkLines(numbered(count, size), after))).map((lines) => lines.map(({ number }) => number));

  it('puts CHUNK_LINES lines into a chunk', async () => {
    const chunks = await chunk(2 * CHUNK_LINES + 1, 1);
    expect(chunks.map(({ length }) => length)).toEqual([CHUNK_LINES, CHUNK_LINES, 1]);
    expect(chunks.flat()).toEqual(Array.from({ length: 2 * CHUNK_LINES + 1 }, (_, index) => index + 1));
  });

  it('puts fewer lines into a chunk when they are large', async () => {
    expect(await chunk(5, 4 * 1024 * 1024)).toEqual([[1, 2], [3, 4], [5]]);
  });

  it('begins after a given line', async () => {
    expect(await chunk(10, 1, 7)).toEqual([[8, 9, 10]]);
    expect(await chunk(10, 1, 10)).toEqual([]);
  });
});
