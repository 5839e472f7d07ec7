/**
 * The checker: evidence -> seven verdicts. Pure.
 *
 * Each verdict counts what it looked at and names every violator. Nothing is tolerated: a run that is not at rest, or of
 * which a part was not seen, fails.
 */
import type { JobView } from '../../shared/contract/job-view.js';
import { JOB_EVENTS } from '../../shared/contract/webhooks/events.js';
import { type Entry, type Evidence, seenIn, TERMINAL } from './evidence.js';
import { faultIn } from './golden-digits.js';

export interface Verdict {
  invariant: string;
  promise: string;
  counts: Record<string, number>;
  violations: Violation[];
}

export interface Violation {
  /** The id of the job, of the entry or of the delivery. */
  id: string;
  what: string;
}

type Found = Pick<Verdict, 'counts' | 'violations'>;

/** The error codes that a poison must end with; a hanging one runs into its own limit. */
const POISON_CODES = {
  throws: 'backend_error',
  aborts: 'input_crashed_backend',
  swells: 'input_crashed_backend',
  hangs: 'timeout',
} as const;
const TIMESTAMP_TOLERANCE_MS = 60_000;

export function check(evidence: Evidence): Verdict[] {
  const known = createIndex(evidence);
  return [
    { invariant: 'I1', promise: 'every accepted job has ended', ...allEnded(evidence, known) },
    { invariant: 'I2', promise: 'every job was asked for, once', ...allAskedFor(evidence, known) },
    { invariant: 'I3', promise: 'an end never changes', ...allUnchanged(evidence, known) },
    { invariant: 'I4', promise: 'one result and one bill each', ...allOnce(evidence, known) },
    { invariant: 'I5', promise: 'one verified delivery each', ...allTold(evidence, known) },
    { invariant: 'I6', promise: 'no failure touches a neighbour', ...allApart(evidence, known) },
    { invariant: 'I7', promise: "nobody sees another tenant's data", ...allPrivate(evidence) },
  ];
}

interface Index {
  entry: ReadonlyMap<string, Entry>;
  job: ReadonlyMap<string, JobView>;
  tenant: ReadonlyMap<string, string>;
  entryOf(view: JobView): Entry | undefined;
}

function createIndex({ entries, stored }: Evidence): Index {
  const entry = new Map(entries.map((each) => [each.id, each]));
  return {
    entry,
    job: new Map(stored.map(({ view }) => [view.id, view])),
    tenant: new Map(stored.map(({ view, tenant }) => [view.id, tenant])),
    entryOf: (view) => entry.get(view.metadata.entry ?? ''),
  };
}

function acceptedIn({ answers }: Entry): string[] {
  return answers.flatMap((answer) => (answer.is === 'accepted' ? [answer.job] : []));
}

function answersOf({ answers }: Entry): string {
  const texts = answers.map((answer) => {
    if (answer.is === 'accepted') return answer.job;
    return answer.is === 'refused' ? `${answer.status} ${answer.code}` : answer.why;
  });
  return texts.join(', ') || 'nothing';
}

function allEnded({ entries, stored }: Evidence, { job }: Index): Found {
  const violations: Violation[] = [];
  const accepted = new Set(entries.flatMap(acceptedIn));
  for (const id of accepted) if (!job.has(id)) violations.push({ id, what: 'accepted and lost' });
  for (const { view } of stored)
    if (!TERMINAL.includes(view.status)) violations.push({ id: view.id, what: `still ${view.status}` });
  const counts: Record<string, number> = { accepted: accepted.size };
  for (const status of TERMINAL)
    counts[status] = [...accepted].filter((id) => job.get(id)?.status === status).length;
  return { counts, violations };
}

function allAskedFor({ entries, stored }: Evidence, { entryOf }: Index): Found {
  const violations: Violation[] = [];
  const jobs = new Map<Entry, string[]>();
  for (const { tenant, view } of stored) {
    const entry = entryOf(view);
    if (!entry || entry.tenant !== tenant) {
      violations.push({ id: view.id, what: 'nobody asked for it' });
      continue;
    }
    jobs.set(entry, [...(jobs.get(entry) ?? []), view.id]);
    const isExplained =
      acceptedIn(entry).includes(view.id) || entry.answers.some(({ is }) => is === 'unknown');
    if (!isExplained) violations.push({ id: view.id, what: `${entry.id} was answered ${answersOf(entry)}` });
  }
  for (const entry of entries) {
    const had = new Set([...(jobs.get(entry) ?? []), ...acceptedIn(entry)]);
    const most = entry.key ? 1 : entry.answers.filter(({ is }) => is !== 'refused').length;
    if (had.size > most)
      violations.push({
        id: entry.id,
        what: `${had.size} jobs, at most ${most} wanted: ${[...had].join(', ')}; was answered ${answersOf(entry)}`,
      });
  }
  const unknown = entries.filter(
    (entry) => acceptedIn(entry).length === 0 && entry.answers.some(({ is }) => is === 'unknown'),
  );
  return { counts: { stored: stored.length, entries: entries.length, unknown: unknown.length }, violations };
}

function allUnchanged({ seen }: Evidence, { job }: Index): Found {
  const violations: Violation[] = [];
  const counts = { answers: 0, webhooks: 0 };
  for (const { job: id, where, status, end, predictions } of seen) {
    counts[where === 'answer' ? 'answers' : 'webhooks']++;
    const view = job.get(id);
    if (!view) continue; // I1 names it.
    const final = seenIn(view, 'answer');
    const isSame = end === final.end && (predictions === null || predictions === final.predictions);
    if (!isSame)
      violations.push({ id, what: `${where} said ${status}, now ${view.status} or other numbers` });
  }
  return { counts, violations };
}

function allOnce({ stored, deliveries, starts, settles }: Evidence, { entryOf }: Index): Found {
  const violations: Violation[] = [];
  const told = groupBy(deliveries, ({ job }) => job);
  for (const { view } of stored) {
    const { id, status, attempts, usage } = view;
    const say = (what: string) => violations.push({ id, what });
    for (const events of countBy((told.get(id) ?? []).map(({ endpoint }) => endpoint)).values())
      if (events > 1) say(`${events} ends were told`);
    const settled = settles.get(id) ?? 0;
    if (settled > 1) say(`${settled} results were taken`);
    if (attempts > 1) say(`${attempts} attempts were counted`);
    const billed = usage.instances;
    const wanted = entryOf(view)?.digits.length;
    if (wanted !== undefined && billed !== wanted) say(`${billed} instances billed for ${wanted}`);
    if (status === 'succeeded' && attempts !== 1) say('a result without an attempt');
  }
  const executions = [...starts.values()];
  const counts = {
    results: stored.filter(({ view }) => view.status === 'succeeded').length,
    executions: executions.reduce((sum, count) => sum + count, 0),
    'executed again': executions.filter((count) => count > 1).length,
    'results in logs': settles.size,
  };
  return { counts, violations };
}

function allTold(evidence: Evidence, { job, tenant }: Index): Found {
  const { stored, arrivals, deliveries, endpoints, trapped } = evidence;
  const violations: Violation[] = [];
  const delivery = groupBy(deliveries, (each) => each.job);
  const arrived = groupBy(arrivals, (each) => each.id);
  for (const { view, tenant: owner } of stored) {
    const wanting = endpoints.filter((each) => each.tenant === owner && tellsEnd(each.events, view));
    const due = wanting.length + (isDue(view) ? 1 : 0);
    const made = delivery.get(view.id) ?? [];
    const say = (what: string) => violations.push({ id: view.id, what });
    if (made.length !== due) say(`${made.length} deliveries, ${due} due`);
    for (const { id, state, type } of made) {
      if (state === 'pending') say(`${id} is neither delivered nor given up`);
      if (type !== `job.${view.status}`) say(`${id} tells ${type} of a job that ${view.status}`);
      const wasTaken = arrived.get(id)?.some(({ answered }) => answered >= 200 && answered < 300) ?? false;
      if ((state === 'delivered') !== wasTaken)
        say(`${id} is ${state}, its receiver ${wasTaken ? 'took' : 'did not take'} it`);
    }
  }
  for (const [id, attempts] of arrived) violations.push(...faultsOfAttempts(id, attempts));
  for (const { id, job: told, tenant: receiver } of arrivals)
    if (!job.has(told) || tenant.get(told) !== receiver)
      violations.push({ id, what: 'of no job of this tenant' });
  if (trapped > 0) violations.push({ id: 'trap', what: `${trapped} connections to a blocked address` });
  const counts = {
    deliveries: deliveries.length,
    attempts: arrivals.length,
    'given up': deliveries.filter(({ state }) => state === 'failed').length,
  };
  return { counts, violations };
}

function isDue(view: JobView): boolean {
  return view.webhook !== null && tellsEnd(view.webhook.events ?? JOB_EVENTS, view);
}

function tellsEnd(events: readonly string[], { status }: JobView): boolean {
  return events.includes(`job.${status}`);
}

function faultsOfAttempts(id: string, attempts: Evidence['arrivals']): Violation[] {
  const violations: Violation[] = [];
  if (attempts.some(({ verified }) => !verified)) violations.push({ id, what: 'is not signed rightly' });
  if (new Set(attempts.map(({ body }) => body)).size > 1) violations.push({ id, what: 'has two bodies' });
  const isStale = ({ timestamp, atMs }: Evidence['arrivals'][number]) =>
    Math.abs(atMs - timestamp * 1000) > TIMESTAMP_TOLERANCE_MS;
  if (attempts.some(isStale)) violations.push({ id, what: 'carries an old timestamp' });
  return violations;
}

function allApart({ stored }: Evidence, { entryOf }: Index): Found {
  const violations: Violation[] = [];
  const counts = { innocent: 0, poisoned: 0 };
  for (const { view } of stored) {
    const entry = entryOf(view);
    if (!entry || view.status === 'canceled' || view.status === 'expired') continue;
    counts[entry.poison ? 'poisoned' : 'innocent']++;
    const fault = entry.poison ? faultOfPoison(view, entry.poison) : faultOfInnocent(view, entry.digits);
    if (fault) violations.push({ id: view.id, what: fault });
  }
  return { counts, violations };
}

function faultOfInnocent({ status, error, predictions }: JobView, digits: readonly number[]): string | null {
  if (status === 'failed') return `failed without a fault of its own: ${error?.code}`;
  return status === 'succeeded' ? faultIn(Array.isArray(predictions) ? predictions : null, digits) : null;
}

function faultOfPoison({ status, error }: JobView, poison: NonNullable<Entry['poison']>): string | null {
  const codes = [error?.code, ...(error?.instanceErrors ?? []).map(({ code }) => code)];
  if (status === 'failed' && codes.includes(POISON_CODES[poison])) return null;
  return TERMINAL.includes(status) ? `a poison that ${poison}: ${status} ${codes.join(' ')}` : null;
}

function allPrivate({ leaks, scanned }: Evidence): Found {
  return {
    counts: { texts: scanned },
    violations: leaks.map(({ where, found }) => ({ id: found, what: `in ${where}` })),
  };
}

function countBy(ids: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const id of ids) counts.set(id, (counts.get(id) ?? 0) + 1);
  return counts;
}

function groupBy<T>(items: readonly T[], idOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const group = groups.get(idOf(item));
    if (group) group.push(item);
    else groups.set(idOf(item), [item]);
  }
  return groups;
}
