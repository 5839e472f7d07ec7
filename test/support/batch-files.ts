/**
 * Batches for black-box tests: uploads lines, waits for the batch, and reads the files back.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import type { Answer, Stack } from './stack.js';

/** The fields of a batch that tests read, as the API shows them. */
export interface BatchView {
  id: string;
  status: string;
  counts: { total: number | null; succeeded: number; failed: number; canceled: number; expired: number };
  outputFile: string | null;
  errorFile: string | null;
  error: { code: string; message: string } | null;
  firstFailure: { line: number; customId: string | null; code: string; message: string } | null;
}

export interface ResultLine {
  line: number;
  customId: string | null;
  job: string | null;
  predictions?: number[][];
  status?: string;
  error?: { code: string; errors?: { path: string }[] } | null;
}

const ENDED = ['completed', 'failed', 'canceled', 'expired'];
const PAUSE_MS = 50;

export function createBatchFiles(stack: Stack) {
  function upload(lines: readonly (string | object)[], key = stack.key): Promise<string> {
    const text = lines.map((line) => (typeof line === 'string' ? line : JSON.stringify(line))).join('\n');
    return uploadBytes(Buffer.from(text), key);
  }

  async function uploadBytes(bytes: Buffer, key = stack.key): Promise<string> {
    const form = new FormData();
    form.append('file', new Blob([new Uint8Array(bytes)]), `${randomBytes(4).toString('hex')}.jsonl`);
    const response = await fetch(`${stack.url}/v1/files`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}` },
      body: form,
    });
    return ((await response.json()) as { id: string }).id;
  }

  const post = (body: object, headers?: Record<string, string>): Promise<Answer> =>
    stack.request('POST', '/v1/batches', { model: 'mnist', ...body }, headers);

  async function create(lines: readonly (string | object)[], more: object = {}): Promise<BatchView> {
    const { status, body } = await post({ inputFile: await upload(lines), ...more });
    if (status !== 202) throw new Error(`${status} ${JSON.stringify(body)}`);
    return body;
  }

  const get = async (id: string): Promise<BatchView> =>
    (await stack.request('GET', `/v1/batches/${id}`)).body;

  /** Polls the batch and returns the first view for which `is` returns true. */
  async function until(id: string, what: string, boundMs: number, is: (batch: BatchView) => boolean) {
    const end = Date.now() + boundMs;
    for (;;) {
      const batch = await get(id).catch(() => null);
      if (batch?.counts && is(batch)) return batch;
      if (Date.now() > end) throw new Error(`${what}: not within ${boundMs} ms: ${JSON.stringify(batch)}`);
      await pause(PAUSE_MS);
    }
  }

  const ended = (id: string, boundMs = 60_000) =>
    until(id, 'the batch has ended', boundMs, ({ status }) => ENDED.includes(status));

  async function linesOf(file: string | null): Promise<ResultLine[]> {
    if (file === null) return [];
    const response = await fetch(`${stack.url}/v1/files/${file}/content`, {
      headers: { authorization: `Bearer ${stack.key}` },
    });
    return (await response.text())
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line));
  }

  return { upload, uploadBytes, post, create, get, until, ended, linesOf };
}
