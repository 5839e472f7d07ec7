/**
 * How bodies arrive: a caller who expects `100 Continue` gets it once somebody reads, so that a refusal comes before the body
 * (RFC 9110, section 10.1.1); and a body that dawdles is not waited for.
 *
 * A slow line is no attack, so no body has a total time. In each period it must bring a least amount, or its end.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Clock } from '../../shared/base/clock.js';
import { SluiceError } from '../../shared/contract/errors.js';

/** The part of a request's state by which a reader of bodies says that it begins. */
export interface BodyState {
  beginBody?: BeginBody;
}

/**
 * Has the body sent by a caller who waits to be asked, and watches it until it has arrived.
 *
 * @param onSlow hears of a body that is too slow, once; the reader must then answer
 * @param periodMs the time in which nothing may come, be it that the line stalls
 */
export type BeginBody = (onSlow: (error: SluiceError) => void, periodMs?: number) => void;

/** The least rate of a body, in bytes each second: that of a modem, and too much for thousands of idlers. */
const LEAST_RATE = 10_000;
const PERIOD_MS = 10_000;
/** After the answer, the rest of a body is read and dropped for this time, so that a caller who is still sending reads the answer. */
const DROP_MS = 10_000;

/** Returns what begins the body of one request, and what drops the rest of it once the answer is written. */
export function createBodyArrival(
  { req, res }: { req: IncomingMessage; res: ServerResponse },
  clock: Clock,
): { begin: BeginBody; dropRest(): void } {
  let awaited = req.headers.expect?.toLowerCase() === '100-continue';
  let stopWatching = () => {};

  function begin(onSlow: (error: SluiceError) => void, periodMs = PERIOD_MS): void {
    if (awaited) res.writeContinue();
    awaited = false;
    let before = req.socket.bytesRead;
    stopWatching = clock.every(periodMs, () => {
      const arrived = req.socket.bytesRead - before;
      before = req.socket.bytesRead;
      if (req.complete) return stopWatching();
      if (arrived >= (LEAST_RATE * periodMs) / 1000) return;
      stopWatching();
      // No more is read of this connection, because whatever came late would be taken for the next request.
      if (!res.headersSent) res.setHeader('Connection', 'close');
      onSlow(tooSlow(arrived, periodMs));
    });
    req.once('close', stopWatching);
  }

  function dropRest(): void {
    stopWatching();
    if (req.complete || !hasBody(req)) return;
    // Nobody knows whether a caller who was not asked sends the body all the same.
    if (awaited && !res.headersSent) res.setHeader('Connection', 'close');
    const stop = clock.after(DROP_MS, () => void (req.complete || req.socket.destroySoon()));
    req.once('close', stop);
  }

  return { begin, dropRest };
}

function hasBody({ headers }: IncomingMessage): boolean {
  return headers['content-length'] !== undefined || headers['transfer-encoding'] !== undefined;
}

function tooSlow(arrived: number, periodMs: number): SluiceError {
  return new SluiceError(
    'body_too_slow',
    `The body is too slow: ${arrived} bytes came in ${periodMs / 1000} s; at least ${LEAST_RATE} a second must.`,
  );
}
