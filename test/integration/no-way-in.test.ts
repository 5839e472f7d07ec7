/**
 * No way in: everything that a tenant may write into a webhook's URL, or into the DNS of a name that they own. Each case is
 * judged where the URL is registered, and by the real sender when it connects. Traps listen on this machine, and the tests see
 * every address to which a socket tries to connect.
 */
import type { LookupAddress } from 'node:dns';
import { createServer, type LookupFunction, type Server, Socket } from 'node:net';
import ipaddr from 'ipaddr.js';
import type { buildConnector } from 'undici';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { systemClock } from '../../shared/base/clock.js';
import { createAddressRules, formFault, urlFault } from '../../shared/contract/webhooks/address.js';
import { createGuardedConnect, type Resolve } from '../../worker/delivery/guarded-connect.js';
import { createSender } from '../../worker/delivery/send.js';
import { answer, openReceiver } from '../support/receiver.js';

const REFUSED = 'the host has an address that may not be called';
const NOT_PUBLIC = 'must not point to an address that is not public';
const MALFORMED = 'must be an absolute URL without spaces';
const NOTHING = createAddressRules([]);
const SECOND_LOOPBACK = createAddressRules(['127.0.0.2/32']);

/** Every spelling of one address: all of these mean loopback, or "this host". */
const SPELLINGS = [
  ...['127.0.0.1', '127.1', '127.0.1', '127.255.255.254', '127.0.0.1.', '127.0.0.1..', '0', '0.0.0.0', '1'],
  ...['2130706433', '0x7f000001', '017700000001', '0x7f.1', '0177.0.0.1', '0x7f.0.0.0x1', '00000177.0.0.01'],
  ...['127.0x0.1', '0x', '0x.0x.0x.0x', '%31%32%37.0.0.1', '127%2e0%2e0%2e1', '127。0。0。1', '127．0．0．1'],
  ...['①②⑦.⓪.⓪.①', '１２７.０.０.１', '127.0.0.1\u200b', '127\u00ad.0.0.1', '0x7F.0.0.1', '0X7f.1'],
  ...['localhost', 'localhost.', 'localhost..', 'LOCALHOST', 'api.localhost', 'a.b.localhost.', '.localhost'],
  ...['%6c%6f%63%61%6c%68%6f%73%74', 'localhost%2e', 'loc\u00adalhost', 'ⓛⓞⓒⓐⓛⓗⓞⓢⓣ', 'ｌocalhost'],
  ...['[::]', '[::1]', '[0:0:0:0:0:0:0:1]', '[0000::0001]', '[::0.0.0.1]', '[0:0:0:0:0:0:0:0]'],
];

/** IPv6 addresses that embed an IPv4 address: mapped, compatible, translated, tunnelled. */
const EMBEDDED = [
  ...['[::ffff:127.0.0.1]', '[::ffff:7f00:1]', '[0:0:0:0:0:ffff:127.0.0.1]', '[::FFFF:10.0.0.1]'],
  ...['[::ffff:169.254.169.254]', '[::ffff:a9fe:a9fe]', '[::ffff:8.8.8.8]', '[::ffff:0:127.0.0.1]'],
  ...['[::127.0.0.1]', '[::7f00:1]', '[::10.0.0.1]', '[::8.8.8.8]'],
  ...['[64:ff9b::7f00:1]', '[64:ff9b::127.0.0.1]', '[64:ff9b::a9fe:a9fe]', '[64:ff9b::0.0.0.1]'],
  // The owner of 64:ff9b:1::/48 has prefixes of 48, 56, 64 or 96 bits there (RFC 6052).
  ...['[64:ff9b:1::7f00:1]', '[64:ff9b:1:a00:0:100::]', '[64:ff9b:1:a:0:1::]', '[64:ff9b:1:0:a:0:100::]'],
  ...['[64:ff9b:1:a9fe:a9:fe00::]', '[64:ff9b:1:a9:fe:a9fe::]', '[64:ff9b:1:0:a9:fea9:fe00::]'],
  ...['[64:ff9b:1:a9fe:a9:fe00:808:808]', '[64:ff9b:1:808:8:808:a9fe:a9fe]', '[64:ff9b:1::1]'],
  // This is no prefix of a NAT64 that anybody may know.
  ...['[64:ff9b:2::808:808]', '[64:ff9b:0:1::808:808]', '[64:ff9a::808:808]'],
  ...['[2002:7f00:1::]', '[2002:7f00:1::1]', '[2002:a00:1::]', '[2002:a9fe:a9fe::1]', '[2002:808:808::]'],
  // Teredo embeds the addresses of its server and of its client, the latter with inverted bits (RFC 4380).
  ...['[2001:0:7f00:1::]', '[2001:0:4136:e378:8000:63bf:80ff:fffe]', '[2001::1]'],
];

/** The metadata services of clouds, which give credentials to the machine that asks. */
const METADATA = [
  ...[
    '169.254.169.254',
    '2852039166',
    '0xa9fea9fe',
    '0251.0376.0251.0376',
    '169.254.43518',
    '169.254.169.254.',
  ],
  // These give credentials to containers, serve the time, or belong to a cloud with an address of its own.
  ...['169.254.170.2', '169.254.170.23', '169.254.169.123', '169.254.0.23'],
  ...['100.100.100.200', '192.0.0.192', '168.63.129.16'],
  ...['[fd00:ec2::254]', '[fd00:ec2::23]', '[fd20:ce::254]', '[fd00:42::42]', '[fe80::a9fe:a9fe]'],
];

/** The blocks outside the public internet. The tests take the first address of each, the last, and one between. */
const BLOCKS = [
  ...['0.0.0.0/8', '10.0.0.0/8', '100.64.0.0/10', '127.0.0.0/8', '169.254.0.0/16', '172.16.0.0/12'],
  ...[
    '192.0.0.0/24',
    '192.0.2.0/24',
    '192.31.196.0/24',
    '192.52.193.0/24',
    '192.88.99.0/24',
    '192.168.0.0/16',
  ],
  ...['192.175.48.0/24', '198.18.0.0/15', '198.51.100.0/24', '203.0.113.0/24', '224.0.0.0/4', '240.0.0.0/4'],
  ...['::/96', '::ffff:0:0/96', '100::/64', '100:0:0:1::/64', '200::/7'],
  ...['2001::/32', '2001:2::/48', '2001:4:112::/48', '2001:10::/28', '2001:20::/28', '2001:30::/28'],
  ...['2001::/23', '2001:db8::/32', '2002::/16', '2620:4f:8000::/48', '3fff::/20', '4000::/3', '5f00::/16'],
  ...['fc00::/7', 'fe80::/10', 'fec0::/10', 'ff00::/8', 'ff02::/16'],
];

/** The same blocks of IPv4 behind a NAT64. */
const TRANSLATED = BLOCKS.filter((block) => block.includes('.')).flatMap((block) => {
  const [address, length] = block.split('/');
  return ['64:ff9b::', '64:ff9b:1::'].map((prefix) => `${prefix}${address}/${96 + Number(length)}`);
});

/** Addresses just outside of those blocks, and ordinary hosts. They may be registered. */
const PUBLIC_HOSTS = [
  ...[
    'example.com',
    'EXAMPLE.com.',
    'xn--bcher-kva.example',
    'bücher.example',
    'localhost.example',
    '8.8.8.8',
  ],
  ...[
    '1.0.0.0',
    '9.255.255.255',
    '11.0.0.0',
    '100.63.255.255',
    '100.128.0.0',
    '126.255.255.255',
    '128.0.0.0',
  ],
  ...['169.253.255.255', '169.255.0.0', '172.15.255.255', '172.32.0.0', '192.0.1.0', '192.0.3.0'],
  ...['192.167.255.255', '192.169.0.0', '198.17.255.255', '198.20.0.0', '223.255.255.255', '168.63.129.17'],
  ...['[2000::1]', '[2001:200::1]', '[2001:db7:ffff::1]', '[2001:db9::1]', '[2003::1]', '[2606:4700::1111]'],
  ...['[2620:4f:7fff::1]', '[2620:4f:8001::1]', '[2a00:1450:4001::1]', '[3ffe::1]', '[2001:4860:4860::8888]'],
  ...['[64:ff9b::8.8.8.8]', '[64:ff9b::5db8:d70e]', '[64:ff9b:1::8.8.8.8]', '[64:ff9b:1:fffe::8.8.8.8]'],
  ...['[64:ff9b:1:808:8:800::]', '[64:ff9b:1:8:8:808::]', '[64:ff9b:1::8:808:800:0]'],
];

/** URLs that are refused for their form, wherever they point to. */
const FORMS: [url: string, fault: string][] = [
  ...[
    'ftp://example.com/',
    'file:///etc/passwd',
    'data:text/plain,a',
    'javascript:alert(1)',
    'gopher://127.0.0.1:6379/_INFO',
    'ws://example.com/',
    'unix:/var/run/docker.sock',
    'https+unix://example.com/',
    'blob:https://example.com/1',
  ].map((url): [string, string] => [url, 'must be an https URL']),
  ...[
    'https://user@example.com/',
    'https://user:pass@example.com/',
    'https://:pass@example.com/',
    'https://8.8.8.8@127.0.0.1/',
    'https://example.com%2f@127.0.0.1/',
    'https://example.com:443@127.0.0.1/',
    'https://example.com&@127.0.0.1/',
    'https://a@b@127.0.0.1/',
  ].map((url): [string, string] => [url, 'must not contain a user name or password']),
  ['https://example.com/#a', 'must not have a fragment'],
  ['https://example.com/#', 'must not have a fragment'],
  ['https://example.com/?a#b', 'must not have a fragment'],
  ['https://example.com#@127.0.0.1/', 'must not have a fragment'],
  [`https://example.com/${'a'.repeat(2029)}`, 'must have at most 2048 characters'],
  [`https://${'a.'.repeat(1500)}example/`, 'must have at most 2048 characters'],
  ...[
    'https://example.com/a b',
    'https://exa\nmple.com/',
    'https://exa\tmple.com/',
    ' https://example.com/',
    'https://example.com/\r\nHost: 127.0.0.1',
    '\u0000https://example.com/',
    '\u0001https://127.0.0.1/',
    'https://example.com/\u0000',
    'https://example.com/\u007f',
    'https://example.com/\u00a0',
    '//example.com/',
    '//127.0.0.1/',
    '/hook',
    'example.com',
    '127.0.0.1:6379',
    '',
    'https://',
    'https://[::1',
    'https://[127.0.0.1]/',
    'https://[fe80::1%25eth0]/',
    'https://256.256.256.256/',
    'https://1.2.3.4.5/',
    'https://4294967296/',
    'https://0x100000000/',
    'https://127.0.0.08/',
    'https://127.0.0.1%00/',
    'https://example.com:65536/',
    'https://example.com:-1/',
    'https://example.com:8443:80/',
    'https://exam ple.com/',
    'https://xn--127-0.0.1/',
  ].map((url): [string, string] => [url, MALFORMED]),
];

/** URLs of public hosts that are refused for their scheme or port, or for what a parser makes of them. */
const ROUTES: [url: string, fault: string][] = [
  ['http://example.com/', 'must be an https URL'],
  ['http://8.8.8.8/', 'must be an https URL'],
  ['HTTP://example.com:443/', 'must be an https URL'],
  ['http://[2606:4700::1111]/', 'must be an https URL'],
  ...['0', '22', '25', '80', '442', '444', '2375', '6379', '8080', '9200', '65535'].map(
    (port): [string, string] => [`https://example.com:${port}/`, 'must use port 443 or 8443'],
  ),
  ['https://8.8.8.8:22/', 'must use port 443 or 8443'],
  ...[
    'https:\\\\127.0.0.1\\',
    'https:127.0.0.1',
    'https:/127.0.0.1/',
    'https:///127.0.0.1/',
    'https://127.0.0.1\\@example.com/',
    'https://127.0.0.1?@example.com/',
    'hTTps://127.0.0.1/',
  ].map((url): [string, string] => [url, NOT_PUBLIC]),
];

const v4 = (address: string): LookupAddress => ({ address, family: 4 });
const v6 = (address: string): LookupAddress => ({ address, family: 6 });
const PUBLIC = v4('93.184.215.14');

/** Names that may be registered, and what DNS answers when they are called. */
const NAMES: [name: string, answers: LookupAddress[]][] = [
  ['loopback.test', [v4('127.0.0.1')]],
  ['127.0.0.1.nip.test', [v4('127.0.0.1')]],
  ['loopback-second.test', [v4('127.0.0.2')]],
  ['this-host.test', [v4('0.0.0.0')]],
  ['loopback6.test', [v6('::1')]],
  ['unspecified6.test', [v6('::')]],
  ['ten.test', [v4('10.0.0.5')]],
  ['carrier.test', [v4('100.64.0.1')]],
  ['home.test', [v4('192.168.1.1')]],
  ['docker.test', [v4('172.17.0.1')]],
  ['broadcast.test', [v4('255.255.255.255')]],
  ['multicast.test', [v4('224.0.0.251')]],
  ['metadata.google.internal', [v4('169.254.169.254')]],
  ['metadata6.test', [v6('fd00:ec2::254')]],
  ['azure.test', [v4('168.63.129.16')]],
  ['link-local.test', [v6('fe80::1%lo')]],
  ['unique-local.test', [v6('fd12:3456::1')]],
  ['multicast6.test', [v6('ff02::1')]],
  ['mapped.test', [v6('::ffff:127.0.0.1')]],
  ['mapped-hex.test', [v6('::ffff:7f00:1')]],
  ['mapped-public.test', [v6('::ffff:93.184.215.14')]],
  ['compatible.test', [v6('::127.0.0.1')]],
  ['translated.test', [v6('64:ff9b::7f00:1')]],
  ['6to4.test', [v6('2002:7f00:1::1')]],
  ['teredo.test', [v6('2001:0:7f00:1::')]],
  ['public-first.test', [PUBLIC, v4('127.0.0.1')]],
  ['public-last.test', [v4('127.0.0.1'), PUBLIC]],
  ['two-bad-sixes.test', [v6('64:ff9b::a9fe:a9fe'), v6('2606:4700::1111')]],
  ['bad-four-good-six.test', [v4('10.0.0.1'), v6('64:ff9b::8.8.8.8')]],
  ['bad-four-bad-six.test', [v4('10.0.0.1'), v6('::1')]],
  ['one-of-many.test', [PUBLIC, PUBLIC, PUBLIC, v4('10.0.0.1'), PUBLIC]],
  ['empty.test', []],
  ['no-address.test', [v4('')]],
  ['name-for-answer.test', [v4('localhost')]],
  ['short-form.test', [v4('127.1')]],
  ['hex-form.test', [v4('0x7f000001')]],
  ['wrong-family.test', [{ address: '127.0.0.1', family: 6 }]],
];

/** The cases of an operator who has listed 127.0.0.2 and nothing else. */
const BESIDE_A_LIST = [
  ...['http://127.0.0.1/', 'https://127.0.0.1/', 'http://127.0.0.3/', 'http://localhost/', 'http://[::1]/'],
  ...['http://[::ffff:127.0.0.2]/', 'http://[::7f00:2]/', 'http://[2002:7f00:2::]/', 'http://0.0.0.0/'],
  ...['http://10.0.0.1/', 'http://169.254.169.254/', 'http://8.8.8.8/', 'https://8.8.8.8:22/'],
];
const NAMES_BESIDE_A_LIST: [name: string, answers: LookupAddress[]][] = [
  ['listed-and-not.test', [v4('127.0.0.2'), v4('127.0.0.1')]],
  ['mapped-listed.test', [v6('::ffff:127.0.0.2')]],
  ['public-by-http.test', [PUBLIC]],
  ['listed-and-public-by-http.test', [v4('127.0.0.2'), PUBLIC]],
];

/** All hosts that may not be called, as they stand in a URL. */
const HOSTS = [...SPELLINGS, ...EMBEDDED, ...METADATA, ...[...BLOCKS, ...TRANSLATED].flatMap(samplesOf)];
/** URLs of a host. Public hosts may be called on 443 and 8443, so there the address alone decides. */
const WAYS = (host: string) => [
  ...[`https://${host}/hook`, `https://${host}:8443/hook`],
  ...[`http://${host}/`, `http://${host}:${trapPort}/`, `https://${host}:${trapPort}/`],
];

const traps: Server[] = [];
let trapPort = 0;
let caught = 0;
let looked = 0;
/** Addresses to which a socket of this process tried to connect. */
const attempts: string[] = [];
const judged = new Set<string>();

beforeAll(async () => {
  watchSockets();
  // This trap listens on all addresses of this machine: 127.0.0.1, 127.0.0.2, ::1 and those of its networks.
  const open = await trap(0);
  trapPort = (open.address() as { port: number }).port;
  // These are the ports of public hosts. This machine may not let us listen on them.
  for (const port of [443, 8443]) await trap(port).catch(() => {});
});

afterAll(async () => {
  vi.restoreAllMocks();
  for (const server of traps) await new Promise((resolve) => server.close(resolve));
  process.stdout.write(`no way in: ${judged.size} cases, ${traps.length} ports with traps\n`);
});

/** Opens a trap, which counts each connection and cuts it. */
function trap(port: number): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => {
      caught++;
      socket.destroy();
    });
    server.once('error', reject);
    server.listen(port, '::', () => {
      traps.push(server);
      resolve(server);
    });
  });
}

/** Records every address just before a socket connects to it, and stops a socket that would leave this machine. */
function watchSockets(): void {
  const connect = Socket.prototype.connect as (...args: unknown[]) => Socket;
  vi.spyOn(Socket.prototype, 'connect').mockImplementation(function (this: Socket, ...args: unknown[]) {
    this.on('connectionAttempt', (address: string) => {
      attempts.push(address);
      if (!/^(127\.|::1$|0\.0\.0\.0$)/.test(address)) throw new Error(`a test set out for ${address}`);
    });
    return connect.apply(this, args);
  });
}

const resolverOf =
  (answers: LookupAddress[]): Resolve =>
  async () => {
    looked++;
    return answers;
  };
/** The resolver of cases that must be decided without DNS. */
const NO_DNS: Resolve = (name) => Promise.reject(new Error(`DNS was asked for ${name}`));

/** Returns the error of the sender, which must not have got a response. */
async function errorOf(url: string, rules = NOTHING, resolve = NO_DNS): Promise<string | null> {
  const sender = createSender({ clock: systemClock, rules, version: '1.2.3', timeoutMs: 2000, resolve });
  try {
    const { attempt } = await sender.send(url, {}, '{}', new AbortController().signal);
    expect(attempt.status, url).toBeNull();
    return attempt.error;
  } finally {
    await sender.close();
  }
}

/** Returns the addresses that the socket may connect to, without connecting. */
function offeredTo(url: string, resolve: Resolve): Promise<string[]> {
  return new Promise((done, fail) => {
    const instead = function (this: Socket, ...[args]: unknown[]) {
      const [options] = [args].flat() as [{ host: string; lookup: LookupFunction }];
      options.lookup(options.host, { all: true }, (error, found) => {
        if (error) fail(error);
        else done((found as LookupAddress[]).map(({ address }) => address));
        this.destroy(new Error('not connected'));
      });
      return this;
    };
    vi.mocked(Socket.prototype.connect).mockImplementationOnce(instead);
    void errorOf(url, NOTHING, resolve);
  });
}

/** Returns the error of the connector alone, as if nothing before it had judged. */
function connectorError(text: string, rules = NOTHING, resolve = NO_DNS): Promise<string | null> {
  const { hostname, host, protocol, port } = new URL(text);
  const options = { hostname: hostname.replace(/^\[|\]$/g, ''), host, protocol, port };
  return new Promise((done) =>
    createGuardedConnect(
      rules,
      2000,
      resolve,
    )(options as buildConnector.Options, (...[error]) => done(error?.message ?? null)),
  );
}

/** Puts the start of the URL first, for the title of the test. */
function shown([url, fault]: [string, string]): [string, string, string] {
  return [url.slice(0, 60), fault, url];
}

/** Returns the first address of a block, the last, and one between. */
function samplesOf(block: string): string[] {
  const [first, length] = ipaddr.parseCIDR(block);
  const bytes = first.toByteArray();
  const free = bytes.length * 8 - length;
  const start = bytes.reduce((value, byte) => value * 256n + BigInt(byte), 0n);
  const size = 1n << BigInt(free);
  return [start, start + size / 2n + 1n, start + size - 1n].map((value) => {
    const at = bytes.map((_, i) => Number((value >> BigInt(8 * (bytes.length - 1 - i))) & 255n));
    const address = ipaddr.fromByteArray(at);
    return address.kind() === 'ipv6' ? `[${address}]` : `${address}`;
  });
}

describe('addresses', () => {
  test.each([...new Set(HOSTS)])('%s is refused', async (host) => {
    judged.add(host);
    for (const url of WAYS(host)) {
      expect(urlFault(url, NOTHING), url).toBe(NOT_PUBLIC);
      expect(formFault(url), 'nothing but the address is wrong').toBeNull();

      expect(await errorOf(url), url).toBe(REFUSED);
      expect(await connectorError(url), url).toBe(REFUSED);
    }
  });

  test.each(PUBLIC_HOSTS)('%s is not', (host) => {
    expect(urlFault(`https://${host}/hook?a=b`, NOTHING)).toBeNull();
    expect(urlFault(`https://${host}:443/hook`, NOTHING)).toBeNull();
    expect(urlFault(`https://${host}:8443/hook`, NOTHING)).toBeNull();
  });
});

describe('URLs', () => {
  test.each(FORMS.map(shown))('%j is refused: %s', async (_, fault, url) => {
    judged.add(url);
    expect(urlFault(url, NOTHING)).toBe(fault);
    expect(urlFault(url, SECOND_LOOPBACK), 'whatever is listed').toBe(fault);
    expect(await errorOf(url)).toBe(`the URL ${fault}`);
  });

  test.each(ROUTES.map(shown))('%j is refused: %s', async (_, fault, url) => {
    judged.add(url);
    expect(urlFault(url, NOTHING)).toBe(fault);
    // DNS gives the sender a public address here, so only the URL can be the reason to refuse.
    expect(await errorOf(url, NOTHING, resolverOf([PUBLIC]))).toBe(REFUSED);
    expect(await connectorError(url, NOTHING, resolverOf([PUBLIC]))).toBe(REFUSED);
  });

  test('2,048 characters are not too many', () => {
    const url = 'https://example.com/';
    expect(urlFault(url + 'a'.repeat(2048 - url.length), NOTHING)).toBeNull();
  });
});

describe('names', () => {
  test.each(NAMES)('%s may be registered and is refused when it is called', async (name, answers) => {
    judged.add(name);
    for (const url of [`https://${name}/`, `https://${name}:8443/hook`]) {
      expect(urlFault(url, NOTHING)).toBeNull();
      expect(await errorOf(url, NOTHING, resolverOf(answers))).toBe(REFUSED);
      expect(await connectorError(url, NOTHING, resolverOf(answers))).toBe(REFUSED);
    }
  });

  test.each<[name: string, answers: LookupAddress[], reached: string[]]>([
    ['by DNS64 alone', [v6('64:ff9b::8.8.8.8')], ['64:ff9b::8.8.8.8']],
    ['by IPv4 and DNS64', [PUBLIC, v6('64:ff9b::8.8.8.8')], [PUBLIC.address, '64:ff9b::8.8.8.8']],
    ['by a prefix of its own', [v6('64:ff9b:1::8.8.8.8')], ['64:ff9b:1::8.8.8.8']],
    ['beside the metadata service behind a NAT64', [PUBLIC, v6('64:ff9b::a9fe:a9fe')], [PUBLIC.address]],
    ['beside ::1', [v6('::1'), PUBLIC], [PUBLIC.address]],
    ['beside local and tunnelled addresses', [v6('fd00::1'), PUBLIC, v6('2002:7f00:1::1')], [PUBLIC.address]],
  ])('a good one is reached %s', async (_, answers, reached) => {
    expect(await offeredTo('https://good.test/', resolverOf(answers))).toEqual(reached);
  });

  test('one that DNS does not know says so', async () => {
    const resolve: Resolve = () => Promise.reject(Object.assign(new Error(), { code: 'ENOTFOUND' }));
    expect(await errorOf('https://unknown.test/', NOTHING, resolve)).toBe('ENOTFOUND');
  });
});

describe('beside a list', () => {
  test.each(BESIDE_A_LIST)('%s is refused', async (url) => {
    judged.add(`${url} beside a list`);
    expect(urlFault(url, SECOND_LOOPBACK)).not.toBeNull();
    expect(await errorOf(url, SECOND_LOOPBACK)).toBe(REFUSED);
    expect(await connectorError(url, SECOND_LOOPBACK)).toBe(REFUSED);
  });

  test.each(NAMES_BESIDE_A_LIST)(
    '%s may be registered and is refused when it is called',
    async (name, answers) => {
      judged.add(`${name} beside a list`);
      const url = `http://${name}:${trapPort}/`;
      expect(urlFault(url, SECOND_LOOPBACK)).toBeNull();
      expect(await errorOf(url, SECOND_LOOPBACK, resolverOf(answers))).toBe(REFUSED);
      expect(await connectorError(url, SECOND_LOOPBACK, resolverOf(answers))).toBe(REFUSED);
    },
  );

  test.each([
    ...['http://127.0.0.2:9999/', 'https://127.0.0.2:1/', 'http://receiver:80/', 'http://0x7f.2:3000/'],
  ])('%s may be registered', (url) => {
    expect(urlFault(url, SECOND_LOOPBACK)).toBeNull();
    expect(urlFault(url, NOTHING)).not.toBeNull();
  });
});

describe('in all', () => {
  test('there are more than a hundred cases, no socket set out, and no trap was stepped on', () => {
    expect(judged.size).toBeGreaterThanOrEqual(100);
    expect(attempts).toEqual([]);
    expect(caught).toBe(0);
    // DNS was asked for each name, so no name was refused for lack of an answer.
    expect(looked).toBeGreaterThan(NAMES.length);
  });

  test('a name whose answers change reaches the one that was judged, or none', async () => {
    const receiver = await openReceiver(answer(200, { connection: 'close' }), '127.0.0.2');
    const second = await openReceiver(answer(200), '127.0.0.1', receiver.port);
    const answers = ['127.0.0.2', '127.0.0.1', '127.0.0.2'];
    let asked = 0;
    const sender = createSender({
      clock: systemClock,
      rules: SECOND_LOOPBACK,
      version: '1.2.3',
      resolve: async () => [v4(answers[asked++] as string)],
    });
    const attempt = async () =>
      (await sender.send(`http://rebinding.test:${receiver.port}/`, {}, '{}', new AbortController().signal))
        .attempt;
    const before = attempts.length;
    expect((await attempt()).status).toBe(200);
    expect((await attempt()).error).toBe(REFUSED);
    expect((await attempt()).status).toBe(200);
    expect(asked, 'once for each connection').toBe(3);
    expect(attempts.slice(before)).toEqual(['127.0.0.2', '127.0.0.2']);
    expect([receiver.connections(), second.connections()]).toEqual([2, 0]);
    await sender.close();
    await Promise.all([receiver.close(), second.close()]);
  });

  test('the traps catch whom the operator lets go there', async () => {
    const rules = createAddressRules(['127.0.0.0/8', '::1/128', '0.0.0.0/8']);
    const hosts = ['127.0.0.1', '[::1]', '127.0.0.2', '0.0.0.0', 'localhost', 'named.test'];
    for (const host of hosts) {
      const before = [caught, attempts.length] as const;
      await errorOf(`http://${host}:${trapPort}/`, rules, resolverOf([v4('127.0.0.1')]));
      expect(caught, host).toBeGreaterThan(before[0]);
      expect(attempts.length, host).toBeGreaterThan(before[1]);
    }
  });
});
