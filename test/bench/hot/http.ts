/**
 * A lean HTTP client for load: connections that are kept, one request at a time on each, nothing but what a client needs.
 */
import { type Dispatcher, Pool } from 'undici';

export interface Reply {
  status: number;
  text: string;
}

export interface Http {
  /** Rejects when no answer came. */
  send(method: 'GET' | 'POST', path: string, body?: Buffer): Promise<Reply>;
  close(): Promise<void>;
}

/** Returns a client with so many connections, which sends `headers` with each request. */
export function openHttp(origin: string, connections: number, headers: Record<string, string>): Http {
  const pool = new Pool(origin, { connections, pipelining: 1 });
  return {
    send: (method, path, body) =>
      new Promise((resolve, reject) => {
        const chunks: Buffer[] = [];
        let status = 0;
        const handler: Dispatcher.DispatchHandler = {
          onRequestStart() {},
          onResponseStart(_, statusCode) {
            status = statusCode;
          },
          onResponseData(_, chunk) {
            chunks.push(chunk);
          },
          onResponseEnd() {
            resolve({ status, text: Buffer.concat(chunks).toString() });
          },
          onResponseError(_, error) {
            reject(error);
          },
        };
        pool.dispatch({ path, method, headers, body: body ?? null }, handler);
      }),
    close: () => pool.destroy(),
  };
}
