/**
 * Job answers: the view of a job as it is now, or once it has ended.
 */
import { SluiceError } from '../../shared/contract/errors.js';
import { isId } from '../../shared/contract/ids.js';
import { isTerminal, type JobRecord } from '../../shared/contract/job.js';
import { type JobView, presentJob } from '../../shared/contract/job-view.js';
import type { Core } from '../../shared/core/compose.js';
import type { Watch } from './held-requests.js';

export type JobAnswers = ReturnType<typeof createJobAnswers>;

/** Returns the answers about jobs. Each refuses a job that does not exist, or belongs to another tenant, with `not_found`. */
export function createJobAnswers({
  jobs,
  queueStatus,
  results,
}: Pick<Core, 'jobs' | 'queueStatus' | 'results'>) {
  /** Returns the view of a job as its record is now. */
  async function read(tenant: string, id: string, mayInline: MayInline = always): Promise<JobView> {
    const found = await jobs.getWithOutput(tenant, id);
    if (!found) throw noSuchJob();
    return viewOf(found.record, found.output, mayInline);
  }

  /** Returns the view of a record and its packed predictions, which become a file where they may not stand in the answer. */
  async function viewOf(
    record: JobRecord,
    output: Buffer | null = null,
    mayInline: MayInline = always,
  ): Promise<JobView> {
    const [predictions, place] = await Promise.all([
      results.present(record, output, output === null || mayInline(output)),
      queueStatus.placeOf(record),
    ]);
    return presentJob(record, predictions, place);
  }

  /** Resolves to the view of a job: once it has ended or is waited for no more, now without a watch. */
  async function onceEnded(
    watch: Watch | null,
    tenant: string,
    id: string,
    mayInline: MayInline = always,
  ): Promise<JobView> {
    return watch ? readOnceEnded(watch, tenant, id, true, mayInline) : read(tenant, id, mayInline);
  }

  /** Resolves like `onceEnded` for a job that was just made with `record`; `watch` began before the job existed. */
  async function onceNewEnded(
    watch: Watch | null,
    record: JobRecord,
    mayInline: MayInline = always,
  ): Promise<JobView> {
    const { tenant, id } = record.spec;
    if (!watch) return isTerminal(record.status) ? read(tenant, id, mayInline) : viewOf(record);
    const { mayHaveEnded, told } = await watch.woken();
    if (told) return viewOf({ ...record, ...told.changed }, told.output, mayInline);
    return readOnceEnded(watch, tenant, id, mayHaveEnded, mayInline);
  }

  async function readOnceEnded(
    watch: Watch,
    tenant: string,
    id: string,
    isWoken: boolean,
    mayInline: MayInline,
  ): Promise<JobView> {
    for (let mayHaveEnded = isWoken; ; { mayHaveEnded } = await watch.woken()) {
      const view = await read(tenant, id, mayInline);
      if (isTerminal(view.status) || !mayHaveEnded) return view;
    }
  }

  return { read, viewOf, onceNewEnded, onceEnded };
}

/** Returns the error of a job that does not exist for its caller. */
export function noSuchJob(): SluiceError {
  return new SluiceError('not_found', 'There is no such job.');
}

/**
 * Returns the id of the job that a path names.
 * @throws {SluiceError} `not_found` for a text that is no id of a job.
 */
export function jobIdOf({ params: { id } }: { params: { id: string } }): string {
  if (!isId('job', id)) throw noSuchJob();
  return id;
}

/** Whether packed predictions may stand in the answer; large ones never do. */
export type MayInline = (output: Buffer) => boolean;
const always: MayInline = () => true;

/** Allows predictions until those of one answer take `bytes` together. */
export function withinBytes(bytes: number): MayInline {
  let left = bytes;
  return ({ length }) => {
    if (length > left) return false;
    left -= length;
    return true;
  };
}
