/**
 * Address rules: which addresses and URLs a webhook may reach. The rules are pure; they apply at registration and at each connect.
 *
 * Promises: an address that is not public is refused in every spelling, unless the operator listed it. A listed address may
 * also be reached by plain http and on any port. A public address is reached by https on port 443 or 8443 only.
 */
import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';
import { ConfigError } from '../../base/config.js';

export interface AddressRules {
  /** Returns whether the address is public or listed. */
  allows(address: string): boolean;
  /** Returns whether the address is in the operator's list. */
  lists(address: string): boolean;
  /** True when the operator listed anything. */
  readonly listsAny: boolean;
}

type Address = ipaddr.IPv4 | ipaddr.IPv6;
type Network = [address: Address, prefixLength: number];

const MAX_URL_LENGTH = 2048;
const PUBLIC_PORTS: ReadonlySet<string> = new Set(['', '443', '8443']);
/** The addresses of `localhost` by RFC 6761, whatever DNS says. */
const LOOPBACK = ['127.0.0.1', '::1'];

/** The IPv4 networks outside the public internet (IANA special-purpose registry), and one cloud's metadata host. */
const NOT_PUBLIC_V4 = networks(
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '168.63.129.16/32',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.31.196.0/24',
  '192.52.193.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '192.175.48.0/24',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
);

/** The public part of IPv6. Loopback, mapped (::ffff:), compatible (::a.b.c.d), local and multicast addresses lie outside. */
const PUBLIC_V6 = networks('2000::/3');
/** Networks inside it that are not public: protocol assignments with Teredo, documentation, 6to4 (embeds any IPv4 address), AS112. */
const NOT_PUBLIC_V6 = networks('2001::/23', '2001:db8::/32', '2002::/16', '2620:4f:8000::/48', '3fff::/20');

/** The addresses that a NAT64 translates to the IPv4 address inside (RFC 6052), and the start of that in bits. */
const TRANSLATED = [
  { network: networks('64:ff9b::/96'), starts: [96] },
  // Its owner chooses where in it a prefix ends (RFC 8215), and no address tells.
  { network: networks('64:ff9b:1::/48'), starts: [48, 56, 64, 96] },
];
/** Bits that RFC 6052 leaves out of the IPv4 address, wherever it starts. */
const RESERVED_BYTE = 64 / 8;
/** Networks that no packet reaches: an address read from there is none, but a part of the prefix or zeros behind it. */
const NOWHERE = networks('0.0.0.0/8', '240.0.0.0/4');

/**
 * Returns the rules. `listed` holds the CIDRs that are reachable although they are not public.
 *
 * @throws {ConfigError} when an entry is not a CIDR in the usual spelling
 */
export function createAddressRules(listed: readonly string[]): AddressRules {
  const list = listed.map(parseListed);
  const lists = (address: string) => isIP(address) !== 0 && isIn(list, ipaddr.parse(address));
  return {
    lists,
    allows: (address) => isPublicAddress(address) || lists(address),
    listsAny: list.length > 0,
  };
}

/** Returns whether `text` is an IP address of the public internet; false for anything that is no address. */
export function isPublicAddress(text: string): boolean {
  if (isIP(text) === 0) return false;
  const address = ipaddr.parse(text);
  if (address.kind() === 'ipv4') return !isIn(NOT_PUBLIC_V4, address);
  const translated = TRANSLATED.find(({ network }) => isIn(network, address));
  if (translated) return isPublicInside(address.toByteArray(), translated.starts);
  return isIn(PUBLIC_V6, address) && !isIn(NOT_PUBLIC_V6, address);
}

/** Returns whether the IPv4 address inside is public, from whichever of these bits it is read. */
function isPublicInside(bytes: readonly number[], starts: readonly number[]): boolean {
  const inside = starts
    .map((start) => {
      const at = bytes.slice(start / 8).filter((_, i) => start / 8 + i !== RESERVED_BYTE);
      return ipaddr.fromByteArray(at.slice(0, 4));
    })
    .filter((address) => !isIn(NOWHERE, address));
  return inside.length > 0 && inside.every((address) => !isIn(NOT_PUBLIC_V4, address));
}

/** Returns the addresses that a URL's host means without DNS: itself, or loopback for `localhost`. Null for any other name. */
export function literalAddresses(hostname: string): readonly string[] | null {
  const host = hostname.replace(/^\[(.*)\]$/, '$1').replace(/\.+$/, '');
  if (isIP(host) !== 0) return [host];
  return host === 'localhost' || host.endsWith('.localhost') ? LOOPBACK : null;
}

/** Returns whether public addresses may be reached by this protocol and port. If not, only listed addresses may. */
export function isPublicRoute(protocol: string, port: string): boolean {
  return protocol === 'https:' && PUBLIC_PORTS.has(port);
}

/**
 * Returns why this URL may not be called, as the end of a sentence about the URL, or null. Names are not looked up here, because
 * each connect checks what they resolve to. A plain http URL with a name therefore passes as soon as the operator listed anything.
 */
export function urlFault(text: string, rules: AddressRules): string | null {
  const fault = formFault(text);
  if (fault) return fault;
  const url = new URL(text);
  const addresses = literalAddresses(url.hostname);
  const isPublic = isPublicRoute(url.protocol, url.port);
  const isAllowed = addresses
    ? addresses.some(isPublic ? rules.allows : rules.lists)
    : isPublic || rules.listsAny;
  if (isAllowed) return null;
  if (addresses && !addresses.some(rules.allows)) return 'must not point to an address that is not public';
  return url.protocol === 'https:' ? 'must use port 443 or 8443' : 'must be an https URL';
}

/** Returns what is wrong with the form of a URL, wherever it points, or null. */
export function formFault(text: string): string | null {
  if (text.length > MAX_URL_LENGTH) return `must have at most ${MAX_URL_LENGTH} characters`;
  // The URL parser would drop control characters and accept the rest.
  if (/[\s\p{Cc}]/u.test(text) || !URL.canParse(text)) return 'must be an absolute URL without spaces';
  const url = new URL(text);
  if (url.protocol !== 'https:' && url.protocol !== 'http:') return 'must be an https URL';
  if (url.username !== '' || url.password !== '') return 'must not contain a user name or password';
  return text.includes('#') ? 'must not have a fragment' : null;
}

function networks(...texts: string[]): Network[] {
  return texts.map((text) => ipaddr.parseCIDR(text));
}

function isIn(list: readonly Network[], address: Address): boolean {
  return list.some(([network, length]) => {
    // `match` throws when the families differ.
    return network.kind() === address.kind() && address.match(network, length);
  });
}

/** Accepts only the usual spelling of a CIDR; ipaddr.js alone would accept `10/8` and `0x7f.1/8` too. */
function parseListed(text: string): Network {
  const [address = '', length = ''] = text.split('/');
  if (isIP(address) !== 0 && /^\d+$/.test(length) && ipaddr.isValidCIDR(text)) return ipaddr.parseCIDR(text);
  throw new ConfigError(`SLUICE_WEBHOOK_ALLOW_PRIVATE: ${text} is not a CIDR such as 10.0.0.0/8 or ::1/128`);
}
