/**
 * Tenure: the time for which this worker holds a ticket. It takes turns in the queue, each of which settles what was computed and
 * starts what is next.
 *
 *   takes over what the ticket has -> takes turns while jobs come -> stands by, to be rung -> has left
 *
 * Promises:
 *   - One turn is under way at a time. Jobs that end meanwhile are settled together in the next one.
 *   - A job that is sent to it is a share of its own, and computed at once. One that it did not hear of is found by the next turn.
 *   - A share is in hand until all of its jobs are computed, and so many at most as there is room for.
 *   - It ends when no job is in hand and none came for `STAND_BY_MS`, or when it was closed.
 */
import type { Clock } from '../../../shared/base/clock.js';
import type {
  Exchanged,
  Finished,
  Settled,
  Share,
  Started,
  Turn,
} from '../../../shared/core/jobs/executions.js';
import { NONE_SENT, type SentJob } from '../../../shared/core/jobs/sent-jobs.js';

export interface TenureDeps {
  exchange(turn: Turn): Promise<Exchanged>;
  /** Rejects when the job was left or dropped; then it has not ended. */
  compute(job: Started): Promise<Finished>;
  /** A computed job was settled. */
  settled(finished: Finished, status: Settled): Promise<void>;
  /** The number of shares that may be in hand now. */
  maxShares(): number;
  share(): Share;
  clock: Clock;
}

export interface Tenure {
  /** Jobs wait, or may wait; `sent` is one that was started already. */
  ring(sent?: SentJob): void;
  /** Starts no more jobs. */
  close(): void;
  /** Resolves with the reasons for which jobs were not computed or settled, and are left under the ticket. */
  ended: Promise<unknown[]>;
}

interface Computed {
  finished: Finished;
  resolve: (status: Settled) => void;
  reject: (reason: unknown) => void;
}

/** Jobs may be left under the ticket that this tenure does not know; whoever gets the ticket next takes them over. */
export class LeftBehind extends Error {}

/** A queue whose jobs come more often than this calls nobody through the transport. */
const STAND_BY_MS = 1000;
/** Bound of the jobs that are settled in one turn. */
const MAX_SETTLED = 256;

/** Begins a tenure. */
export function startTenure({ exchange, compute, settled, maxShares, share, clock }: TenureDeps): Tenure {
  const computed: Computed[] = [];
  /** Jobs that are started, and that no turn has settled. */
  const inHand = new Set<string>();
  const leftOver: unknown[] = [];
  /** The last job that was sent, as far as this tenure knows. */
  let heard = NONE_SENT;
  /** A job that was sent and is not here. */
  let missing: { id: string; sinceMs: number } | null = null;
  let shares = 0;
  /** Jobs may run under the ticket that this tenure does not know. */
  let takesOver = true;
  /** Jobs that are left under the ticket must be computed alone, after those in hand. */
  let mustFinishFirst = false;
  /** The queue counts on this worker to come when it is rung. */
  let standsBy = false;
  let isCalled = true;
  let isClosed = false;
  let isLost = false;
  /** Work about settled jobs that is under way. */
  const reports = new Set<Promise<void>>();
  let stoodBy = false;
  let notice = () => {};
  const wake = () => clock.soon(() => notice());

  async function hold(): Promise<unknown[]> {
    let isOver = false;
    for (let number = 1; !isOver; number++) {
      isOver = await takeTurn(number);
      if (!isOver) await untilDue();
      isOver ||= isLost && isIdle();
    }
    await Promise.all(reports);
    if (takesOver || isLost) leftOver.push(new LeftBehind());
    return leftOver;
  }

  const isIdle = () => inHand.size === 0;
  const room = () => (isClosed ? 0 : Math.max(0, maxShares() - shares));

  function isDue(): boolean {
    if (computed.length > 0) return true;
    if (isIdle() && (isClosed || stoodBy)) return true;
    // A worker that is counted on and can take nothing makes way for another.
    if (standsBy && (isClosed || isCalled)) return true;
    return (isCalled || (takesOver && !mustFinishFirst)) && room() > 0;
  }

  async function untilDue(): Promise<void> {
    const stopWaiting = isIdle() ? clock.after(STAND_BY_MS, standDown) : () => {};
    while (!isDue())
      await new Promise<void>((resolve) => {
        notice = resolve;
      });
    stopWaiting();
  }

  /** A job may have been sent meanwhile. */
  function standDown(): void {
    stoodBy = isIdle();
    wake();
  }

  /** Resolves with whether the tenure is over. */
  async function takeTurn(number: number): Promise<boolean> {
    const settling = computed.splice(0, MAX_SETTLED);
    for (const { finished } of settling) inHand.delete(finished.job.spec.id);
    const turn: Turn = {
      number,
      heard,
      finished: settling.map(({ finished }) => finished),
      room: room(),
      share: share(),
      leaves: isIdle() && (isClosed || stoodBy),
      ...(takesOver && !isClosed && { takesOver: [...inHand] }),
    };
    isCalled = false;
    stoodBy = false;
    standsBy = false;
    try {
      const { standing, isMore, sent, settled, started } = await exchange(turn);
      for (const [i, { resolve }] of settling.entries()) resolve(settled[i] ?? 'void');
      isLost = standing === 'lost';
      isClosed ||= isLost;
      hearOf(sent, standing === 'behind' || !!turn.takesOver);
      takesOver = standing === 'behind' || (takesOver && !turn.takesOver);
      mustFinishFirst = standing === 'behind' && !!turn.takesOver && started.length === 0 && !isIdle();
      isCalled ||= isMore;
      standsBy = standing === 'held' && !isMore && turn.room > (started.length > 0 ? 1 : 0);
      if (started.length > 0) void computeShare(started);
      return standing === 'left';
    } catch (error) {
      for (const { reject } of settling) reject(error);
      fail(error);
      return turn.leaves;
    }
  }

  async function computeShare(started: readonly Started[]): Promise<void> {
    shares++;
    await Promise.all(started.map(computeJob));
    shares--;
    wake();
  }

  /** Resolves when the job is computed; it is settled later. */
  async function computeJob(job: Started): Promise<void> {
    const { id } = job.spec;
    inHand.add(id);
    try {
      const finished = await compute(job);
      const isSettled = new Promise<Settled>((resolve, reject) => {
        computed.push({ finished, resolve, reject });
      });
      const report = isSettled.then((status) => settled(finished, status)).catch(fail);
      reports.add(report);
      void report.finally(() => reports.delete(report));
      wake();
    } catch (error) {
      inHand.delete(id);
      fail(error);
    }
  }

  function fail(reason: unknown): void {
    leftOver.push(reason);
    close();
  }

  function close(): void {
    isClosed = true;
    wake();
  }

  /** A turn may tell of a job that was sent before that job is here, or after. One that does not come for a while is lost. */
  function hearOf(sent: string, isTakenOver: boolean): void {
    if (isTakenOver) heard = sent;
    if (sent === heard) missing = null;
    else if (missing?.id !== sent) missing = { id: sent, sinceMs: clock.monotonic() };
    else if (clock.monotonic() - missing.sinceMs >= STAND_BY_MS) takesOver = true;
  }

  function receive({ job, before }: SentJob): void {
    const { id } = job.spec;
    // A turn that took over may have been told of the job before.
    if (inHand.has(id)) return;
    if (before !== heard || isClosed) takesOver = true;
    heard = id;
    // A closed tenure leaves it under the ticket.
    if (!isClosed) void computeShare([job]);
  }

  return {
    ring(sent) {
      if (sent) receive(sent);
      else isCalled = true;
      wake();
    },
    close,
    ended: hold(),
  };
}
