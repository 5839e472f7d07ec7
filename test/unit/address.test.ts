/**
 * The address rules by themselves. integration/no-way-in.test.ts tests URLs and hosts.
 */
import { describe, expect, test } from 'vitest';
import { createAddressRules, isPublicAddress } from '../../shared/contract/webhooks/address.js';

const LOOPBACK = createAddressRules(['127.0.0.0/8']);

describe('rules', () => {
  test.each(['', 'example.com', '127.1', '0x8080808', '8.8.8.8:80', '[2606:4700::1111]', 'fe80::1%eth0'])(
    '%j is not a public address',
    (text) => {
      expect(isPublicAddress(text)).toBe(false);
      expect(LOOPBACK.allows(text)).toBe(false);
    },
  );

  test('a list opens its own networks only', () => {
    const rules = createAddressRules(['10.1.0.0/16', 'fd00::/8', '::1/128']);
    expect(['10.1.2.3', 'fd12::1', '::1'].map(rules.allows)).toEqual([true, true, true]);
    expect(['10.2.0.1', 'fc00::1', '::2', '127.0.0.1'].map(rules.allows)).toEqual([
      false,
      false,
      false,
      false,
    ]);
    expect([rules.lists('8.8.8.8'), rules.allows('8.8.8.8')]).toEqual([false, true]);
  });

  test.each([
    '10.0.0.0',
    '10/8',
    '10.0.0.0/33',
    '10.0.0.0/-1',
    '::1/129',
    '0x7f.1/8',
    'localhost/8',
    '1.2.3.4/8/8',
  ])('the operator is told that %s is not a CIDR', (text) => {
    expect(() => createAddressRules([text])).toThrow(/is not a CIDR/);
  });
});
