/**
 * A caller of bulk submits: a hundred jobs in one request, and as few requests as can be to learn that all have ended.
 *
 * The jobs of one tenant and priority start in their order, so the caller has the request for the last one held until that has
 * ended, and then reads the list, which has them all in a page or two. The list shows states and no predictions; who wants all
 * predictions fetches them one by one.
 */
import { systemClock as clock, sleep } from '../../../shared/base/clock.js';
import type { Http, Reply } from './http.js';
import type { Answer, Exchange, Request } from './protocols.js';

export const BULK_JOBS = 100;

interface BulkResults {
  results?: { job?: { id: string } }[];
}

interface JobPage {
  data: { id: string; status: string }[];
  nextCursor: string | null;
}

/** Resolves once every job of the request has ended; `read` reads the answer that shows a whole job. */
export async function exchangeBulk(
  http: Http,
  { body }: Request,
  pollMs: number,
  read: (reply: Reply) => Answer,
): Promise<Exchange> {
  const look = async (id: string, query = ''): Promise<Answer> =>
    read(await http.send('GET', `/v1/jobs/${id}${query}`));
  const submitted = await http.send('POST', '/v1/jobs/bulk', body);
  const ids = idsOf(submitted);
  // The newest id of a millisecond need not be the last one submitted.
  const [oldest = '', newest = ''] = [ids.toSorted()[0], ids.toSorted().at(-1)];
  await look(ids.at(-1) ?? '', '?wait=30');
  const newestAnswer = await look(newest, '?wait=30');

  const states = new Map<string, string>();
  const pending = () => ids.some((id) => id !== newest && isPending(states.get(id)));
  await readStates(http, newest, oldest, states);
  while (pending()) {
    await sleep(clock, pollMs);
    await readStates(http, newest, oldest, states);
  }
  const answers = ids.map((id): Answer => {
    if (id === newest) return newestAnswer;
    const state = states.get(id) ?? 'not in the list';
    return state === 'succeeded'
      ? { kind: 'ended', look: () => look(id) }
      : { kind: 'wrong', text: `${id} ${state}` };
  });
  return { answers, polls: 0 };
}

/** @throws Error when a job of the request was not taken */
function idsOf({ status, text }: Reply): string[] {
  const { results = [] } = JSON.parse(text) as BulkResults;
  const ids = results.flatMap(({ job }) => job?.id ?? []);
  if (status !== 200 || ids.length !== BULK_JOBS)
    throw new Error(`bulk submit: ${status} ${text.slice(0, 500)}`);
  return ids;
}

function isPending(state: string | undefined): boolean {
  return state === 'queued' || state === 'running';
}

/** Notes the states of the jobs from `oldest` up to `newest` itself. Ids sort by time, and a page begins after its cursor. */
async function readStates(
  http: Http,
  newest: string,
  oldest: string,
  states: Map<string, string>,
): Promise<void> {
  for (let cursor: string | null = newest; cursor && cursor > oldest; ) {
    const { status, text } = await http.send('GET', `/v1/jobs?limit=${BULK_JOBS}&cursor=${cursor}`);
    if (status !== 200) throw new Error(`list of jobs: ${status} ${text.slice(0, 500)}`);
    const { data, nextCursor } = JSON.parse(text) as JobPage;
    for (const job of data) states.set(job.id, job.status);
    cursor = nextCursor;
  }
}
