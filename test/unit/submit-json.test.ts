/** Bodies that submit jobs: what is read straight from the bytes equals what JSON.parse makes of them. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseJson, whole } from '../../shared/contract/json/json.js';
import { NumberGrid } from '../../shared/contract/json/number-grid.js';
import { parseBulkSubmit, parseSubmit } from '../../shared/contract/json/submit-json.js';

const DEPTH = 8;

/** Returns the value, or what is told to the caller. */
function outcomeOf(
  parse: (bytes: Buffer, depth: number, subject: string) => unknown,
  bytes: Buffer,
): unknown {
  try {
    return { value: parse(bytes, DEPTH, 'The body') };
  } catch (error) {
    const { code, message, faults } = error as { code: string; message: string; faults: unknown };
    return { code, message, faults };
  }
}

/** Returns a value with arrays in the place of its grids. */
function inArrays(value: unknown): unknown {
  if (value instanceof NumberGrid) return value.toJSON();
  if (Array.isArray(value)) return value.map(inArrays);
  if (typeof value !== 'object' || value === null) return value;
  const made = Object.create(Object.prototype);
  for (const [name, item] of Object.entries(value))
    Object.defineProperty(made, name, {
      value: inArrays(item),
      enumerable: true,
      writable: true,
      configurable: true,
    });
  return made;
}

const submit = (bytes: Buffer, depth: number, subject: string) =>
  inArrays(whole(parseSubmit(bytes, depth, subject)));
const bulk = (bytes: Buffer, depth: number, subject: string) =>
  inArrays(whole(parseBulkSubmit(bytes, depth, subject)));

function demandEqual(text: string | Buffer): void {
  const bytes = Buffer.from(text as string);
  const wanted = outcomeOf(parseJson, bytes);
  expect(outcomeOf(submit, bytes)).toStrictEqual(wanted);
  expect(outcomeOf(bulk, bytes)).toStrictEqual(wanted);
}

function instancesOf(text: string): unknown[] {
  return (parseSubmit(Buffer.from(text), DEPTH, 'The body').value as { instances: unknown[] }).instances;
}

describe('the body of a submit', () => {
  const number = fc.oneof(
    fc.double({ noDefaultInfinity: true, noNaN: true }),
    fc.integer(),
    fc.constantFrom(-0, 0, 1, 255),
  );
  const row = fc.array(number, { minLength: 1, maxLength: 3 });
  const grid = fc.oneof(
    row,
    fc.tuple(row, fc.nat(2)).map(([items, more]) => Array(more + 1).fill(items)),
  );
  const named = fc.dictionary(fc.constantFrom('a', 'b', '0', 'é', '__proto__', 'toJSON', 'shape'), grid);
  const instances = fc.oneof(
    grid,
    fc.array(grid),
    fc.array(named),
    fc.array(fc.oneof(number, grid, named)),
    fc.jsonValue(),
  );
  const options = fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 2 }), { maxKeys: 2 });
  const body = fc
    .tuple(options, instances, options)
    .map(([before, given, after]) => ({ ...before, instances: given, ...after }));
  const bodies = fc.oneof(
    body,
    fc.array(fc.oneof(body, fc.jsonValue())).map((jobs) => ({ jobs })),
  );
  const spaces = fc.constantFrom(undefined, 1, '\t', '\r\n  ');

  it('is what JSON.parse makes of it', () => {
    fc.assert(
      fc.property(bodies, spaces, (value, space) => {
        // A number of JSON.stringify has no -0, so some get their sign back here.
        demandEqual(JSON.stringify(value, null, space).replaceAll(/(?<=[[,\s])0(?=[\],])/g, '-0'));
      }),
      { numRuns: 500 },
    );
  });

  it('is refused in the words of JSON.parse, whatever is broken in it', () => {
    const change = fc.tuple(
      fc.nat(),
      fc.nat(2),
      fc.constantFrom(...'{}[],:"\\-+.eE01 \n\0é', '"instances":[[1]],', '\xff'),
    );
    fc.assert(
      fc.property(bodies, change, (value, [place, removed, added]) => {
        const bytes = Buffer.from(JSON.stringify(value));
        const at = place % bytes.length;
        const parts = [
          bytes.subarray(0, at),
          Buffer.from(added, added === '\xff' ? 'latin1' : 'utf8'),
          bytes.subarray(at + removed),
        ];
        demandEqual(Buffer.concat(parts));
      }),
      { numRuns: 1500 },
    );
  });

  it.each([
    '{"instances":[[1]],"instances":[[2]]}',
    '{"instances":[[1]],"\\u0069nstances":[[2]]}',
    '{"instances":[[1]],"instances":"x"}',
    '{"jobs":[{"instances":[[1]]}],"jobs":[{"instances":[[2]]},{}]}',
    '{"instances":[{"a":[1],"a":[2]}]}',
    '{"instances":[{"__proto__":[1]}],"__proto__":{"x":1}}',
    '{"instances":[[1]]}}',
    '{"instances":[[1]]} x',
    '{"instances":[[1]]',
    '[{"instances":[[1]]}]',
    '\ufeff{"instances":[[1]]}',
    '{"instances":[[[[[[[1]]]]]]]}',
    '{"instances":[[[[[[[[1]]]]]]]]}',
    '{"jobs":[{"instances":[[[[[1]]]]]}]}',
    '{"jobs":[{"instances":[[[[[[1]]]]]]}]}',
    '{"instances":[{"a":[[[[[1]]]]]}]}',
    '{"instances":[{"a":[[[[[[1]]]]]]}]}',
    '{"metadata":{"a":"\\ud800"},"instances":[[1]]}',
    '{"metadata":{"a":"\\ud83d\\ude00 \\\\\\""},"instances":[[1]]}',
    '{"a":"\\\\","instances":[[1]],"b":{"instances":[[2]]}}',
    '{"instances":[[1e400,-1e-400,123456789012345678901234567890]]}',
    '{"a":1,}',
    '{"instances":[[1]],}',
    '{"instances":}',
    '{"instances":[[1],[2,3]]}',
    '{"instances":[[1],2]}',
    '{"instances":[1,[2]]}',
    '{"instances":[[],[]]}',
    '{"instances":[[1,null]]}',
    '{"instances":[{"a\tb":[1]}]}',
    '{"instances":[{"":[1]}]}',
    '{"instances":[{"é":[1]}]}',
    Buffer.from('{"instances":[{"\xe9":[1]}]}', 'latin1'),
  ])('%s is the same, too', demandEqual);

  it('holds its numbers in grids, by instance or by name', () => {
    const [first, second] = instancesOf('{"instances":[[[1,2],[3,4]],[[5,6],[7,8.5]]]}') as NumberGrid[];
    expect([first?.shape, second?.shape]).toEqual([
      [2, 2],
      [2, 2],
    ]);
    expect(second?.numbers).toEqual(Float64Array.of(5, 6, 7, 8.5));
    const [named] = instancesOf('{"instances":[{"a":[1,2],"b":[[3]]}]}') as Record<string, NumberGrid>[];
    expect(Object.entries(named ?? {}).map(([name, { shape }]) => [name, shape])).toEqual([
      ['a', [2]],
      ['b', [1, 1]],
    ]);
    expect(instancesOf('{"instances":[1,-0,2.5]}')).toEqual([1, -0, 2.5]);
  });

  it('may have more numbers than the room that bodies share', () => {
    const numbers = Array.from({ length: 140_000 }, (_, i) => i / 8);
    const [grid] = instancesOf(JSON.stringify({ instances: [numbers] })) as NumberGrid[];
    expect(Array.from(grid?.numbers ?? [])).toEqual(numbers);
  });

  it('keeps the numbers of one body apart from those of the next', () => {
    const [first] = instancesOf('{"instances":[[1,2]]}') as NumberGrid[];
    instancesOf('{"instances":[[3,4]]}');
    expect(first?.toJSON()).toEqual([1, 2]);
  });

  it('is written by JSON.stringify as if it had arrays', () => {
    const text = '{"instances":[[[0.1,-2e-7],[3,1e21]]]}';
    const { value } = parseSubmit(Buffer.from(text), DEPTH, 'The body');
    expect(JSON.stringify(value)).toBe(JSON.stringify(JSON.parse(text)));
  });

  it('costs no more with much white space, many quotes or many backslashes', () => {
    const many = (text: string) => text.repeat(2e5);
    const before = process.cpuUsage();
    demandEqual(`{"instances":[[1]]}${many(' ')}`);
    demandEqual(`{"a":"${many('\\\\')}","b":"${many('\\"')}","instances":[[1]]}`);
    demandEqual(`{"instances":${many('[')}`);
    const { user, system } = process.cpuUsage(before);
    expect((user + system) / 1000).toBeLessThan(2000);
  });
});
