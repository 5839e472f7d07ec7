import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { linesOf } from '../../api/http/json-body.js';

const split = (text: string) => linesOf(Buffer.from(text)).map(String);

describe('lines of a body', () => {
  it.each([
    ['', []],
    ['\n\n', []],
    ['a', ['a']],
    ['a\n', ['a']],
    ['\n a\n\nb\r\n \t\r\nc', [' a', 'b\r', 'c']],
  ])('%j', (text, lines) => expect(split(text)).toEqual(lines));

  it('are those that are not blank, in their order, whatever the bytes', () => {
    fc.assert(
      fc.property(fc.array(fc.string()), (parts) => {
        const text = parts.join('\n');
        expect(split(text)).toEqual(text.split('\n').filter((line) => /[^ \t\r]/.test(line)));
      }),
    );
  });
});
