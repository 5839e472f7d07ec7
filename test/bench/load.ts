/**
 * The load generator: a closed loop of `inFlight` clients, each submitting a digit, waiting for its answer, comparing
 * it, and submitting the next one.
 *
 * It shares the machine with what it loads, so it does little for a request: bodies are made beforehand, and every
 * client has its own open connection.
 */
import { type Dispatcher, Pool } from 'undici';
import { systemClock as clock } from '../../shared/base/clock.js';
import { answerOrders } from './measurer.js';
import { type Protocol, type ProtocolName, protocolOf } from './protocols.js';
import { expectedAnswers, isRight, jsonImages, testImages } from './test-digits.js';

export interface LoadOrder {
  protocol: ProtocolName;
  origin: string;
  apiKey: string;
  inFlight: number;
  seconds: number;
}

export interface LoadResult {
  /** Answered, whether right or wrong. */
  jobs: number;
  wrong: number;
  /** The first wrong answer, as it came. */
  firstFault: string | null;
  /** Until the last answer. */
  seconds: number;
  p50Ms: number;
  p99Ms: number;
  /** Jobs ÷ batches. */
  batchSize: number;
}

interface Tally {
  latenciesMs: number[];
  batches: number;
  wrong: number;
  firstFault: string | null;
}

const images = jsonImages();
const expected = await expectedAnswers(testImages());

answerOrders(async (order: LoadOrder): Promise<LoadResult> => {
  const protocol = protocolOf(order.protocol, order.apiKey);
  const bodies = images.map((image) => Buffer.from(JSON.stringify(protocol.body(image))));
  const pool = new Pool(order.origin, { connections: order.inFlight, pipelining: 1 });
  const tally: Tally = { latenciesMs: [], batches: 0, wrong: 0, firstFault: null };
  const startedMs = clock.monotonic();
  const endMs = startedMs + order.seconds * 1000;
  let next = 0;

  async function client(): Promise<void> {
    while (clock.monotonic() < endMs) {
      const index = next++ % bodies.length;
      const sentMs = clock.monotonic();
      const { status, text } = await post(pool, protocol, bodies[index] as Buffer);
      tally.latenciesMs.push(clock.monotonic() - sentMs);
      judge(tally, protocol, status, text, expected[index] ?? []);
    }
  }

  try {
    await Promise.all(Array.from({ length: order.inFlight }, client));
    return summarize(tally, (clock.monotonic() - startedMs) / 1000);
  } finally {
    await pool.destroy();
  }
});

function post(pool: Pool, protocol: Protocol, body: Buffer): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let status = 0;
    const handler: Dispatcher.DispatchHandler = {
      onRequestStart() {},
      onResponseStart(_, statusCode) {
        status = statusCode;
      },
      onResponseData(_, chunk) {
        chunks.push(chunk);
      },
      onResponseEnd() {
        resolve({ status, text: Buffer.concat(chunks).toString() });
      },
      onResponseError(_, error) {
        reject(error);
      },
    };
    pool.dispatch({ path: protocol.path, method: 'POST', headers: protocol.headers, body }, handler);
  });
}

function judge(tally: Tally, protocol: Protocol, status: number, text: string, right: readonly number[]) {
  const answer = status === 200 ? protocol.read(JSON.parse(text)) : undefined;
  // A batch of n is reported n times.
  tally.batches += 1 / (answer?.batchSize || 1);
  if (answer && isRight(answer.probabilities, right)) return;
  tally.wrong++;
  tally.firstFault ??= `${status} ${text.slice(0, 500)}`;
}

function summarize({ latenciesMs, batches, wrong, firstFault }: Tally, seconds: number): LoadResult {
  const sorted = Float64Array.from(latenciesMs).sort();
  const quantile = (share: number) => sorted[Math.floor(sorted.length * share)] ?? 0;
  const jobs = sorted.length;
  return {
    jobs,
    wrong,
    firstFault,
    seconds,
    p50Ms: quantile(0.5),
    p99Ms: quantile(0.99),
    batchSize: jobs / batches,
  };
}
