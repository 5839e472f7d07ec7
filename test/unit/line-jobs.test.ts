/** The jobs of a batch's lines: what a notice means that comes before the job exists, and after it is gone. */
import { expect, it } from 'vitest';
import type { BatchRecord } from '../../shared/contract/batch.js';
import type { JobRecord } from '../../shared/contract/job.js';
import { createLineJobs, type LineJobsDeps } from '../../worker/batches/line-jobs.js';
import { createManualClock } from '../support/manual-clock.js';

const LINE = { number: 1, bytes: Buffer.from('{"instances":[[1]]}') };
const recordOf = (id: string, status: string) =>
  ({ spec: { id }, status, end: null }) as unknown as JobRecord;

function open() {
  const records = new Map<string, JobRecord>();
  const watchers = new Map<string, () => void>();
  let make = () => {};
  const core = {
    jobs: { get: async (_: string, id: string) => records.get(id) ?? null },
    submission: {
      submit: ({ onChecked }: { onChecked: (id: string) => void }) =>
        new Promise((resolve) => {
          onChecked('job_1');
          make = () => {
            const record = recordOf('job_1', 'queued');
            records.set('job_1', record);
            resolve({ record, replayed: false });
          };
        }),
    },
  } as unknown as LineJobsDeps['core'];
  const onEnd = (id: string, notify: () => void) => {
    watchers.set(id, notify);
    return () => void watchers.delete(id);
  };
  const lineJobs = createLineJobs(
    {
      core,
      notices: { awaited: '', onEnd, onChange: onEnd, onAwaitedEnd: () => () => undefined },
      watermark: { check: () => undefined },
      clock: createManualClock(),
      limits: { maxBytes: 1000, maxDepth: 8 },
      onError: (_, error) => {
        throw error;
      },
    },
    {
      batch: { spec: { id: 'batch_1', tenant: 'acme', model: 'm', version: 1, alias: null } } as BatchRecord,
      leftMs: () => 60_000,
      halt: new AbortController().signal,
      stop: new AbortController().signal,
    },
  );
  const notify = async () => {
    watchers.get('job_1')?.();
    await new Promise(setImmediate);
  };
  return { lineJobs, records, notify, make: () => make() };
}

it('a notice before the job exists does not end its line', async () => {
  const { lineJobs, records, notify, make } = open();
  const submitting = lineJobs.submit(LINE);
  await notify();
  make();
  const { ended } = await submitting;
  records.set('job_1', recordOf('job_1', 'succeeded'));
  await notify();
  expect(await ended).toMatchObject({ job: 'job_1', status: 'succeeded', error: null });
});

it('a job that is gone fails its line', async () => {
  const { lineJobs, records, notify, make } = open();
  const submitting = lineJobs.submit(LINE);
  make();
  const { ended } = await submitting;
  records.clear();
  await notify();
  expect(await ended).toMatchObject({ job: 'job_1', status: 'failed', error: { code: 'not_found' } });
});
