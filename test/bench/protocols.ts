/**
 * How each system is asked for one prediction over HTTP, and where its answer holds what is compared.
 */

export interface Answer {
  probabilities: unknown;
  /** Rows computed together with this one; 1 where there is no batching. */
  batchSize: number;
}

export interface Protocol {
  path: string;
  headers: Record<string, string>;
  body(image: readonly number[]): unknown;
  /** Undefined when the answer is not that of a finished prediction. */
  read(answer: unknown): Answer | undefined;
}

export type ProtocolName = 'sluice' | 'rival';

interface FinishedJob {
  status: string;
  predictions: unknown[] | null;
  timings: { batchSize: number } | null;
}

export function protocolOf(name: ProtocolName, apiKey: string): Protocol {
  return name === 'sluice' ? sluice(apiKey) : RIVAL;
}

function sluice(apiKey: string): Protocol {
  return {
    path: '/v1/jobs',
    headers: {
      'content-type': 'application/json',
      authorization: `Bearer ${apiKey}`,
      prefer: 'wait=30',
    },
    body: (image) => ({ model: 'mnist', instances: [image] }),
    read(answer) {
      const { status, predictions, timings } = answer as FinishedJob;
      if (status !== 'succeeded' || !timings) return undefined;
      return { probabilities: predictions?.[0], batchSize: timings.batchSize };
    },
  };
}

const RIVAL: Protocol = {
  path: '/predict',
  headers: { 'content-type': 'application/json' },
  body: (image) => ({ image }),
  read: (answer) => ({ probabilities: answer, batchSize: 1 }),
};
