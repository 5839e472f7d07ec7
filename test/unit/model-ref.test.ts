/** How a caller refers to a version. */
import { expect, it } from 'vitest';
import { parseModelRef, versionKey } from '../../shared/contract/models/model-ref.js';

it.each([1, 7, 1_536_553_160, 202_011_032_114, Number.MAX_SAFE_INTEGER])('names version %d', (version) => {
  expect(parseModelRef(versionKey('m', version))).toEqual({ name: 'm', version });
});

it.each(['m@0', 'm@007', 'm@9007199254740992', 'm@9007199254740993', 'm@10000000000000000', 'm@', 'M@1'])(
  '%s is no reference',
  (text) => expect(parseModelRef(text)).toBeNull(),
);
