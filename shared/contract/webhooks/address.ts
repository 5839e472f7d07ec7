/**
 * Where a webhook may go: pure rules over addresses and URLs, used at registration and again at connect.
 *
 * Promises: an address that is not public is refused in every spelling, unless the operator listed it. A listed address
 * may also be reached by plain http and on any port; a public one by https on 443 or 8443 only.
 */
import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';
import { ConfigError } from '../../base/config.js';

export interface AddressRules {
  /** Public or listed. */
  allows(address: string): boolean;
  /** In the operator's list. */
  lists(address: string): boolean;
  /** Whether the operator listed anything. */
  readonly listsAny: boolean;
}

type Address = ipaddr.IPv4 | ipaddr.IPv6;
type Network = [address: Address, prefixLength: number];

const MAX_URL_LENGTH = 2048;
const PUBLIC_PORTS: ReadonlySet<string> = new Set(['', '443', '8443']);
/** RFC 6761: these names mean the machine itself, whatever DNS says. */
const LOOPBACK = ['127.0.0.1', '::1'];

/** Everything of IPv4 that is not the public internet (IANA special-purpose registry), and one cloud's metadata host. */
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

/** What is public of IPv6; loopback, mapped (::ffff:), translated (64:ff9b::), local and multicast lie outside. */
const PUBLIC_V6 = networks('2000::/3');
/** Inside of it: protocol assignments with Teredo, documentation, 6to4, which embeds any IPv4 address, and AS112. */
const NOT_PUBLIC_V6 = networks('2001::/23', '2001:db8::/32', '2002::/16', '2620:4f:8000::/48', '3fff::/20');

/** `listed`: CIDRs that are reachable although they are not public. */
export function createAddressRules(listed: readonly string[]): AddressRules {
  const list = listed.map(parseListed);
  const lists = (address: string) => isIP(address) !== 0 && isIn(list, ipaddr.parse(address));
  return {
    lists,
    allows: (address) => isPublicAddress(address) || lists(address),
    listsAny: list.length > 0,
  };
}

export function isPublicAddress(text: string): boolean {
  if (isIP(text) === 0) return false;
  const address = ipaddr.parse(text);
  if (address.kind() === 'ipv4') return !isIn(NOT_PUBLIC_V4, address);
  return isIn(PUBLIC_V6, address) && !isIn(NOT_PUBLIC_V6, address);
}

/** The addresses that a URL's host means without DNS: itself, or loopback for `localhost`; null for any other name. */
export function literalAddresses(hostname: string): readonly string[] | null {
  const host = hostname.replace(/^\[(.*)\]$/, '$1').replace(/\.+$/, '');
  if (isIP(host) !== 0) return [host];
  return host === 'localhost' || host.endsWith('.localhost') ? LOOPBACK : null;
}

/** Whether public addresses may be reached this way; if not, listed ones only. */
export function isPublicRoute(protocol: string, port: string): boolean {
  return protocol === 'https:' && PUBLIC_PORTS.has(port);
}

/**
 * Why this URL may not be called, or null. Names are not looked up here: what they resolve to is judged at each connect,
 * so a plain http URL with a name passes as soon as the operator listed anything.
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

/** What is wrong with a URL wherever it points to, or null. */
export function formFault(text: string): string | null {
  if (text.length > MAX_URL_LENGTH) return `must have at most ${MAX_URL_LENGTH} characters`;
  // A parser would drop the control characters and judge what is left.
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

/** ipaddr.js would take `10/8` and `0x7f.1/8` too: only the usual spelling passes. */
function parseListed(text: string): Network {
  const [address = '', length = ''] = text.split('/');
  if (isIP(address) !== 0 && /^\d+$/.test(length) && ipaddr.isValidCIDR(text)) return ipaddr.parseCIDR(text);
  throw new ConfigError(`SLUICE_WEBHOOK_ALLOW_PRIVATE: ${text} is not a CIDR such as 10.0.0.0/8 or ::1/128`);
}
