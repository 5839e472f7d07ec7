/**
 * Turns as a worker takes them, one at a time: jobs are started under a ticket, by a tenure that begins with each start, and
 * settled by the tenure that started them.
 */
import type { Core } from '../../shared/core/compose.js';
import type {
  Finished,
  Settled,
  Share,
  Started,
  TicketHold,
  Turn,
  Unstarted,
} from '../../shared/core/jobs/executions.js';
import { NONE_SENT } from '../../shared/core/jobs/sent-jobs.js';

type Executing = Pick<Core, 'executions'>;

const NO_SHARE: Share = { maxInstances: 1, maxBytes: 1 };
const holds = new Map<string, TicketHold>();
let number = 0;

/** Starts the next jobs of a queue, and those that were left under the ticket. `onUnstarted` hears what ended instead. */
export async function startJobs(
  { executions }: Executing,
  model: string,
  version: number,
  ticket: string,
  share: Share,
  onUnstarted: (unstarted: Unstarted) => void = () => undefined,
): Promise<Started[]> {
  const hold = { ticket, tenure: `tenure-${++number}`, bell: 'nobody-listens' };
  const turn: Turn = { number, heard: NONE_SENT, finished: [], takesOver: [], room: 1, share, leaves: false };
  const { started, unstarted } = await executions.exchange(model, version, hold, turn);
  for (const job of started) holds.set(executionOf(job), hold);
  onUnstarted(unstarted);
  return started;
}

/** Settles jobs that were started under one ticket. */
export async function settleJobs(
  { executions }: Executing,
  model: string,
  version: number,
  finished: readonly Finished[],
): Promise<Settled[]> {
  const [first] = finished;
  if (!first) return [];
  const hold = holds.get(executionOf(first.job));
  if (!hold) throw new Error('These jobs were not started here.');
  const turn: Turn = {
    number: ++number,
    heard: NONE_SENT,
    finished,
    room: 0,
    share: NO_SHARE,
    leaves: false,
  };
  return (await executions.exchange(model, version, hold, turn)).settled;
}

function executionOf({ spec, token }: Pick<Started, 'spec' | 'token'>): string {
  return `${spec.id} ${token}`;
}
