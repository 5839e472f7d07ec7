/**
 * The way out: connects to a webhook's host only where the address rules allow it.
 *
 * Literals are judged here, because a socket's `lookup` is never asked about them. A name is resolved once, every answer
 * must be allowed, and exactly those answers are what the socket may connect to, so that a second answer of DNS cannot
 * differ from the one that was judged. What was connected to is judged once more.
 */
import { ADDRCONFIG, promises as dns, type LookupAddress } from 'node:dns';
import { isIP, type LookupFunction } from 'node:net';
import { buildConnector } from 'undici';
import {
  type AddressRules,
  isPublicRoute,
  literalAddresses,
} from '../../shared/contract/webhooks/address.js';

export type Resolve = (hostname: string) => Promise<LookupAddress[]>;
type Permits = (address: string) => boolean;

export class AddressRefused extends Error {
  override readonly name = 'AddressRefused';
  constructor() {
    super('the host has an address that may not be called');
  }
}

const resolveByDns: Resolve = (hostname) => dns.lookup(hostname, { all: true, hints: ADDRCONFIG });

export function createConnect(
  rules: AddressRules,
  timeoutMs: number,
  resolve: Resolve = resolveByDns,
): buildConnector.connector {
  const overPublicRoute = createGuarded(rules.allows, timeoutMs, resolve);
  const overAnyRoute = createGuarded(rules.lists, timeoutMs, resolve);
  return (options, callback) => {
    const connect = isPublicRoute(options.protocol, options.port) ? overPublicRoute : overAnyRoute;
    connect(options, callback);
  };
}

function createGuarded(permits: Permits, timeoutMs: number, resolve: Resolve): buildConnector.connector {
  const connect = buildConnector({
    timeout: timeoutMs,
    lookup: createLookup(permits, resolve),
    autoSelectFamily: true,
  });
  return (options, callback) => {
    const literals = literalAddresses(options.hostname);
    if (literals && !literals.some(permits)) {
      queueMicrotask(() => callback(new AddressRefused(), null));
      return;
    }
    connect(options, (...[error, socket]) => {
      if (error) return callback(error, null);
      if (permits(socket.remoteAddress ?? '')) return callback(null, socket);
      socket.destroy();
      callback(new AddressRefused(), null);
    });
  };
}

function createLookup(permits: Permits, resolve: Resolve): LookupFunction {
  const judged = async (hostname: string): Promise<LookupAddress[]> => {
    const literals = literalAddresses(hostname);
    // `localhost` is both loopback addresses: those that are permitted are tried.
    const addresses = literals?.filter(permits).map(withFamily) ?? (await resolve(hostname));
    if (addresses.length === 0 || !addresses.every(({ address }) => permits(address))) {
      throw new AddressRefused();
    }
    return addresses;
  };
  return (hostname, options, callback) => {
    judged(hostname).then(
      (addresses) => {
        const first = addresses[0] as LookupAddress;
        if (options.all) callback(null, addresses);
        else callback(null, first.address, first.family);
      },
      (error: NodeJS.ErrnoException) => callback(error, []),
    );
  };
}

function withFamily(address: string): LookupAddress {
  return { address, family: isIP(address) };
}
