/**
 * The load generator: a closed loop of `inFlight` clients, each submitting a request, waiting until its jobs have ended,
 * comparing the answers, and submitting the next one.
 *
 * It shares the machine with what it loads, so it does little for a request: bodies are made beforehand, and every client
 * has its own open connection.
 */
import { systemClock as clock } from '../../../shared/base/clock.js';
import { answerOrders } from '../measurer.js';
import { openHttp } from './http.js';
import { type Answer, type ProtocolName, protocolOf } from './protocols.js';
import { expectedAnswers, isRight, jsonImages, testImages } from './test-digits.js';

export interface LoadOrder {
  protocol: ProtocolName;
  origin: string;
  apiKey: string;
  pollMs: number;
  /** Clients. */
  inFlight: number;
  seconds: number;
}

export interface LoadResult {
  /** Ended, whether right or wrong. */
  jobs: number;
  wrong: number;
  /** The first wrong answer, as it came. */
  firstFault: string | null;
  /** Until the last answer. */
  seconds: number;
  /** From the submit until the answer, or the answer to the last poll. */
  p50Ms: number;
  p99Ms: number;
  /** Jobs ÷ batches, of the answers that tell. */
  batchSize: number;
  pollsPerJob: number;
}

interface Tally {
  latenciesMs: number[];
  jobs: number;
  polls: number;
  /** Answers that tell their batch, and batches. */
  batched: number;
  batches: number;
  wrong: number;
  firstFault: string | null;
}

const images = jsonImages();
const expected = await expectedAnswers(testImages());

answerOrders(async (order: LoadOrder): Promise<LoadResult> => {
  const protocol = protocolOf(order.protocol, order);
  const requests = protocol.requestsFor(images);
  const http = openHttp(order.origin, order.inFlight, protocol.headers);
  const tally = emptyTally();
  const startedMs = clock.monotonic();
  const endMs = startedMs + order.seconds * 1000;
  let next = 0;

  async function client(): Promise<void> {
    while (clock.monotonic() < endMs) {
      const request = requests[next++ % requests.length] as (typeof requests)[number];
      const sentMs = clock.monotonic();
      const { answers, polls } = await protocol.exchange(http, request);
      tally.latenciesMs.push(clock.monotonic() - sentMs);
      tally.jobs += answers.length;
      tally.polls += polls;
      for (const [index, answer] of answers.entries()) judge(tally, answer, request.digits[index] ?? 0);
    }
  }

  try {
    await Promise.all(Array.from({ length: order.inFlight }, client));
    return summarize(tally, (clock.monotonic() - startedMs) / 1000);
  } finally {
    await http.close();
  }
});

function emptyTally(): Tally {
  return { latenciesMs: [], jobs: 0, polls: 0, batched: 0, batches: 0, wrong: 0, firstFault: null };
}

function judge(tally: Tally, answer: Answer, digit: number): void {
  if (answer.kind === 'ended') return;
  if (answer.kind === 'computed') {
    // A batch of n is reported n times.
    tally.batches += 1 / answer.batchSize;
    tally.batched++;
    if (isRight(answer.probabilities, expected[digit] ?? [])) return;
  }
  tally.wrong++;
  tally.firstFault ??= JSON.stringify(answer).slice(0, 600);
}

function summarize(tally: Tally, seconds: number): LoadResult {
  const { latenciesMs, jobs, polls, batched, batches, wrong, firstFault } = tally;
  const sorted = Float64Array.from(latenciesMs).sort();
  const quantile = (share: number) => sorted[Math.floor(sorted.length * share)] ?? 0;
  return {
    jobs,
    wrong,
    firstFault,
    seconds,
    p50Ms: quantile(0.5),
    p99Ms: quantile(0.99),
    batchSize: batches > 0 ? batched / batches : 1,
    pollsPerJob: polls / jobs,
  };
}
