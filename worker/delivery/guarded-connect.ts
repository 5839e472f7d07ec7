/**
 * Guarded connect: connects to a webhook's host only where the address rules allow it.
 *
 * Literal addresses are checked here, because Node never calls a socket's `lookup` for them. A name is resolved once, and the
 * socket may connect to exactly the addresses that were checked. A second DNS answer therefore cannot differ from the first
 * (DNS rebinding). The address of the connected socket is checked once more.
 *
 * Every address of a name must be allowed, but one: an IPv6 address that is not allowed is left out where the name has IPv4
 * addresses that all are. A network with IPv6 may add answers of its own to a name that is good (DNS64, split horizons).
 */
import { ADDRCONFIG, promises as dns, type LookupAddress } from 'node:dns';
import { isIP, type LookupFunction } from 'node:net';
import { buildConnector } from 'undici';
import {
  type AddressRules,
  isPublicRoute,
  literalAddresses,
} from '../../shared/contract/webhooks/address.js';

/** Resolves a name to all of its addresses. */
export type Resolve = (hostname: string) => Promise<LookupAddress[]>;
type Permits = (address: string) => boolean;

/** The address rules forbid the host. The message names no address, because the tenant reads it. */
export class AddressRefused extends Error {
  override readonly name = 'AddressRefused';
  constructor() {
    super('the host has an address that may not be called');
  }
}

const resolveByDns: Resolve = (hostname) => dns.lookup(hostname, { all: true, hints: ADDRCONFIG });

/**
 * Returns a connector for undici. Its callback gets an `AddressRefused` where `rules` forbid an address, and a timeout error when
 * no connection stands after `timeoutMs`.
 */
export function createGuardedConnect(
  rules: AddressRules,
  timeoutMs: number,
  resolve: Resolve = resolveByDns,
): buildConnector.connector {
  const overPublicRoute = createConnectorFor(rules.allows, timeoutMs, resolve);
  const overAnyRoute = createConnectorFor(rules.lists, timeoutMs, resolve);
  return (options, callback) => {
    const connect = isPublicRoute(options.protocol, options.port) ? overPublicRoute : overAnyRoute;
    connect(options, callback);
  };
}

function createConnectorFor(permits: Permits, timeoutMs: number, resolve: Resolve): buildConnector.connector {
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
  const permitted = async (hostname: string): Promise<LookupAddress[]> => {
    const literals = literalAddresses(hostname);
    // `localhost` means both loopback addresses; the permitted ones are tried.
    const addresses = literals?.filter(permits).map(withFamily) ?? withoutStrays(await resolve(hostname));
    if (addresses.length === 0 || !addresses.every(({ address }) => permits(address))) {
      throw new AddressRefused();
    }
    return addresses;
  };
  /** Leaves out IPv6 addresses that are not allowed, where there are others to connect to. */
  const withoutStrays = (addresses: LookupAddress[]) =>
    addresses.some(({ address }) => isIP(address) === 4)
      ? addresses.filter(({ address }) => isIP(address) !== 6 || permits(address))
      : addresses;
  return (hostname, options, callback) => {
    permitted(hostname).then(
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
