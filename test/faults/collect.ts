/**
 * Collects the final state: every job as the API shows it, and what only records and logs tell.
 */
import type { Redis } from 'ioredis';
import type { JobView } from '../../shared/contract/job-view.js';
import type { Client, Where } from './client.js';
import { type Delivery, type Evidence, TERMINAL } from './evidence.js';
import type { Ledger } from './ledger.js';

export interface Sources {
  ledger: Ledger;
  client: Client;
  api: Where;
  tenants: readonly string[];
  records: Redis;
  /** The prefix of every key. */
  prefix: string;
  /** Everything that the processes wrote. */
  logs: string;
  trapped: number;
}

/** Requests at the same time. */
const LANES = 8;
const PAGE = 100;

/** Returns in words what is not at rest yet, or null when everything is. */
export async function unrest(sources: Pick<Sources, 'client' | 'api' | 'tenants' | 'records' | 'prefix'>) {
  const open: string[] = [];
  for (const tenant of sources.tenants)
    for (const { id, status } of await listAll(sources, tenant))
      if (!TERMINAL.includes(status)) open.push(`${id} ${status}`);
  if (open.length > 0) return `${open.length} jobs are open: ${open.slice(0, 3).join(', ')}`;
  const events = await sources.records.xlen(`${sources.prefix}:outbox`);
  if (events > 0) return `${events} events are in the outbox`;
  const pending = (await readDeliveries(sources)).filter(({ state }) => state === 'pending');
  return pending.length > 0 ? `${pending.length} deliveries are pending: ${pending[0]?.id}` : null;
}

export async function collect(sources: Sources): Promise<Evidence> {
  const { ledger, client, api, records, prefix } = sources;
  const stored: { tenant: string; view: JobView }[] = [];
  for (const tenant of sources.tenants) {
    const ids = (await listAll(sources, tenant)).map(({ id }) => id);
    await inLanes(ids, async (id) => {
      const view = await client.look(tenant, id, api);
      if (view) stored.push({ tenant, view });
    });
  }
  const starts = new Map<string, number>();
  await inLanes(stored, async ({ view: { id } }) => {
    starts.set(id, Number(await records.hget(`${prefix}:job:${id}`, 'starts')));
  });
  for (const line of sources.logs.split('\n')) ledger.scan(line, null, 'a log');
  return {
    endpoints: ledger.endpoints,
    entries: ledger.entries,
    stored,
    seen: ledger.seen,
    arrivals: ledger.arrivals,
    deliveries: await readDeliveries(sources),
    starts,
    settles: settlesIn(sources.logs),
    leaks: ledger.leaks,
    scanned: ledger.scanned,
    trapped: sources.trapped,
  };
}

/** Job -> number of log lines that say its result was taken. */
function settlesIn(logs: string): Map<string, number> {
  const settles = new Map<string, number>();
  for (const line of logs.split('\n')) {
    if (!line.includes('"msg":"settled"')) continue;
    const { job } = JSON.parse(line) as { job: string };
    settles.set(job, (settles.get(job) ?? 0) + 1);
  }
  return settles;
}

async function listAll({ client, api }: Pick<Sources, 'client' | 'api'>, tenant: string): Promise<JobView[]> {
  const views: JobView[] = [];
  let cursor = '';
  do {
    const reply = await client.ask(
      tenant,
      'GET',
      `/v1/jobs?limit=${PAGE}${cursor && `&cursor=${cursor}`}`,
      api,
    );
    if (reply.status !== 200) throw new Error(`the list of jobs is answered ${reply.status}`);
    views.push(...reply.body.data);
    cursor = reply.body.nextCursor ?? '';
  } while (cursor);
  return views;
}

export async function readDeliveries({
  records,
  prefix,
}: Pick<Sources, 'records' | 'prefix'>): Promise<Delivery[]> {
  const keys = new Set<string>();
  for await (const page of records.scanStream({ match: `${prefix}:delivery:*`, count: 1000 }))
    for (const key of page as string[]) keys.add(key);
  return Promise.all(
    [...keys].map(async (key) => {
      const [job, endpoint, type, state] = await records.hmget(key, 'job', 'endpoint', 'type', 'status');
      return {
        id: key.slice(key.lastIndexOf(':') + 1),
        job: job ?? '',
        endpoint: endpoint ?? '',
        type: type ?? '',
        state: state ?? '',
      };
    }),
  );
}

async function inLanes<T>(items: readonly T[], act: (item: T) => Promise<void>): Promise<void> {
  let next = 0;
  const lane = async () => {
    for (let item = items[next++]; item !== undefined; item = items[next++]) await act(item);
  };
  await Promise.all(Array.from({ length: LANES }, lane));
}
