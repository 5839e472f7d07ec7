import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseJson } from '../../shared/contract/json/json.js';

const parse = (bytes: Buffer | string) => parseJson(Buffer.from(bytes), 8, 'The body');
const faultOf = (text: string) => {
  try {
    return parse(text);
  } catch (error) {
    return (error as { faults: { path: string }[] }).faults[0];
  }
};

describe('JSON from outside', () => {
  it('may begin with a byte order mark', () => expect(parse('\ufeff{"a":1}')).toEqual({ a: 1 }));

  it.each([
    ['UTF-16', Buffer.from('\ufeff{"a":1}', 'utf16le')],
    ['UTF-16', Buffer.from('{"a":1}', 'utf16le')],
    ['UTF-16', Buffer.from('\n{}', 'utf16le').subarray(1)],
    ['not valid UTF-8', Buffer.from('{"a":"\xe9"}', 'latin1')],
  ])('is told to be %s', (encoding, bytes) => {
    expect(() => parse(bytes)).toThrow(`The body is ${encoding}; it must be UTF-8.`);
  });

  it('is as deep as its arrays and objects, whatever its texts hold', () => {
    const text = fc.string({ unit: fc.constantFrom(...'a"\\[]{}\n'), maxLength: 80, size: 'max' });
    const { value } = fc.letrec((tie) => ({
      value: fc.oneof(
        { maxDepth: 4 },
        text,
        fc.array(tie('value'), { maxLength: 3 }),
        fc.dictionary(text, tie('value'), { maxKeys: 2 }),
      ),
    }));
    const depthOf = (item: unknown): number =>
      typeof item === 'object' ? 1 + Math.max(0, ...Object.values(item as object).map(depthOf)) : 0;
    fc.assert(
      fc.property(value, (item) => {
        const bytes = Buffer.from(JSON.stringify(item));
        const depth = depthOf(item);
        expect(JSON.stringify(parseJson(bytes, depth, 'The body'))).toBe(JSON.stringify(item));
        if (depth > 0) expect(() => parseJson(bytes, depth - 1, 'The body')).toThrow('is nested deeper than');
      }),
    );
  });

  it.each(['"', '["a', '["\\"]', '{"a":"\\\\\\"'])('%s is told to have no end', (text) => {
    expect(() => parse(text)).toThrow('The body is not JSON');
  });

  it('has no half of a surrogate pair, in a text or a name', () => {
    expect(faultOf('{"metadata":{"a/b":["\\ud800"]}}')).toMatchObject({ path: '/metadata/a~1b/0' });
    expect(faultOf('{"metadata":{"\\uDFFF":1}}')).toMatchObject({ path: '/metadata' });
    expect(faultOf('"\\ud83d\\ude00 \\\\ud800"')).toBe('😀 \\ud800');
  });
});
