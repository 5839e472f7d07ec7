import { describe, expect, test } from 'vitest';
import { createAddressRules, isPublicAddress, urlFault } from '../../shared/contract/address.js';

const NOTHING = createAddressRules([]);
const LOOPBACK = createAddressRules(['127.0.0.0/8']);

/** Hosts of URLs that must be refused however they are spelt. */
const REFUSED_HOSTS = [
  ...[
    '127.0.0.1',
    '127.1',
    '127.255.255.254',
    '0x7f.1',
    '0x7f000001',
    '2130706433',
    '0177.0.0.1',
    '127.0.0.1.',
  ],
  ...[
    '①②⑦.⓪.⓪.①',
    '%31%32%37.0.0.1',
    'localhost',
    'localhost.',
    'LOCALHOST',
    'api.localhost',
    '0',
    '0.0.0.0',
  ],
  ...['10.0.0.1', '10.255.255.255', '100.64.0.1', '100.127.255.255', '100.100.100.200', '169.254.169.254'],
  ...[
    '172.16.0.1',
    '172.31.255.255',
    '192.0.0.192',
    '192.0.2.1',
    '192.88.99.1',
    '192.168.0.1',
    '168.63.129.16',
  ],
  ...[
    '198.18.0.1',
    '198.19.255.255',
    '198.51.100.1',
    '203.0.113.1',
    '224.0.0.1',
    '239.255.255.255',
    '240.0.0.1',
  ],
  ...['255.255.255.255', '[::]', '[::1]', '[0:0:0:0:0:0:0:1]', '[::ffff:127.0.0.1]', '[::ffff:7f00:1]'],
  ...['[::ffff:8.8.8.8]', '[::7f00:1]', '[::127.0.0.1]', '[64:ff9b::7f00:1]', '[64:ff9b::8.8.8.8]'],
  ...['[64:ff9b:1::1]', '[2002:7f00:1::]', '[2002:808:808::]', '[2001::1]', '[2001:db8::1]', '[3fff::1]'],
  ...['[5f00::1]', '[100::1]', '[fc00::1]', '[fd00:ec2::254]', '[fe80::1]', '[fec0::1]', '[ff02::1]'],
];

const PUBLIC_HOSTS = [
  ...[
    'example.com',
    'EXAMPLE.com.',
    'xn--bcher-kva.example',
    'bücher.example',
    '8.8.8.8',
    '1.1.1.1',
    '9.255.255.255',
  ],
  ...[
    '11.0.0.0',
    '100.63.255.255',
    '100.128.0.0',
    '172.15.255.255',
    '172.32.0.0',
    '192.167.255.255',
    '198.17.0.1',
  ],
  ...['198.20.0.0', '223.255.255.255', '[2606:4700::1111]', '[2a00:1450:4001::1]', '[2001:4860:4860::8888]'],
];

describe('urlFault', () => {
  test.each(REFUSED_HOSTS)('refuses https://%s/', (host) => {
    expect(urlFault(`https://${host}/hook`, NOTHING)).toMatch(/not public|absolute URL/);
  });

  test.each(PUBLIC_HOSTS)('allows https://%s/', (host) => {
    expect(urlFault(`https://${host}/hook?a=b`, NOTHING)).toBeNull();
    expect(urlFault(`https://${host}:8443/hook`, NOTHING)).toBeNull();
  });

  test.each([
    ['http://example.com/', 'https'],
    ['http://8.8.8.8/', 'https'],
    ['https://example.com:80/', 'port'],
    ['https://example.com:22/', 'port'],
    ['ftp://example.com/', 'https'],
    ['file:///etc/passwd', 'https'],
    ['data:text/plain,a', 'https'],
    ['javascript:alert(1)', 'https'],
    ['https://user@example.com/', 'user name'],
    ['https://user:pass@example.com/', 'user name'],
    ['https://:pass@example.com/', 'user name'],
    ['https://example.com/#a', 'fragment'],
    ['https://example.com/#', 'fragment'],
    ['https://example.com/a b', 'spaces'],
    ['https://exa\nmple.com/', 'spaces'],
    [' https://example.com/', 'spaces'],
    ['//example.com/', 'absolute'],
    ['example.com', 'absolute'],
    ['https://', 'absolute'],
    ['https://[::1', 'absolute'],
    ['https://256.256.256.256/', 'absolute'],
    [`https://example.com/${'a'.repeat(2048)}`, '2048'],
    ['https:\\\\127.0.0.1\\', 'not public'],
    ['https:127.0.0.1', 'not public'],
    ['https://8.8.8.8@127.0.0.1/', 'user name'],
  ])('refuses %s', (url, why) => {
    expect(urlFault(url, NOTHING)).toContain(why);
  });

  test('takes 2,048 characters', () => {
    const url = 'https://example.com/';
    expect(urlFault(url + 'a'.repeat(2048 - url.length), NOTHING)).toBeNull();
  });

  test.each([
    'http://127.0.0.1:9999/',
    'https://127.0.0.1:1/',
    'http://localhost:3000/',
    'http://receiver:80/',
  ])('with a list allows %s', (url) => {
    expect(urlFault(url, LOOPBACK)).toBeNull();
    expect(urlFault(url, NOTHING)).not.toBeNull();
  });

  test.each([
    'http://10.0.0.1/',
    'http://8.8.8.8/',
    'http://[::1]/',
    'http://[::ffff:127.0.0.1]/',
    'http://a@127.0.0.1/',
  ])('with a list of others still refuses %s', (url) => {
    expect(urlFault(url, LOOPBACK)).not.toBeNull();
  });
});

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
