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

  it('has no half of a surrogate pair, in a text or a name', () => {
    expect(faultOf('{"metadata":{"a/b":["\\ud800"]}}')).toMatchObject({ path: '/metadata/a~1b/0' });
    expect(faultOf('{"metadata":{"\\uDFFF":1}}')).toMatchObject({ path: '/metadata' });
    expect(faultOf('"\\ud83d\\ude00 \\\\ud800"')).toBe('😀 \\ud800');
  });
});
