/**
 * A server that speaks the part of S3 which Sluice uses, path-style: objects by PUT, GET and DELETE, and ListObjectsV2 with
 * pages. It is as strict as S3: it checks signatures and the hashes of bodies, and an object appears whole or not
 * at all. It keeps objects in memory. A test can have it misbehave on the requests that come next.
 */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { faultOfSignature, type SigningCredentials } from './sigv4.js';

export interface S3Object {
  body: Buffer;
  contentType: string | undefined;
  lastModifiedMs: number;
}

/**
 * `cut-upload`: the connection ends in the middle of the request's body. `cut-download`: it ends in the middle of the response's
 * body. `silent`: no response ever comes. A status with S3's code: that response comes.
 */
export type Fault = 'cut-upload' | 'cut-download' | 'silent' | { status: number; code: string };

export interface S3Server {
  endpoint: string;
  bucket: string;
  credentials: SigningCredentials;
  objects: Map<string, S3Object>;
  /** The number of requests so far. */
  requests: { method: string; key: string; headers: IncomingMessage['headers'] }[];
  /** Makes the next requests fail with these faults, in order. The requests after them succeed again. */
  fail(...faults: Fault[]): void;
  /** Makes every request fail with this fault until another fault or null is given. */
  failAlways(fault: Fault | null, isMeant?: (method: string, key: string) => boolean): void;
  close(): Promise<void>;
}

const BUCKET = 'sluice-test';
const CREDENTIALS = { accessKeyId: 'AKIATEST', secretAccessKey: 'secret/of+the=test' };
/** The size of a page. It is small, so that a list of few objects has several pages. */
const PAGE = 3;

const STATUS: Record<string, number> = {
  NoSuchBucket: 404,
  NoSuchKey: 404,
  MethodNotAllowed: 405,
  XAmzContentSHA256Mismatch: 400,
  IncompleteBody: 400,
};

export async function openS3Server(): Promise<S3Server> {
  const objects: S3Server['objects'] = new Map();
  const requests: S3Server['requests'] = [];
  const faults: Fault[] = [];
  let lasting: (method: string, key: string) => Fault | undefined = () => undefined;

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', url = '', headers } = request;
    const [, bucket = '', key = ''] = /^\/([^/?]*)\/?([^?]*)/.exec(url) ?? [];
    requests.push({ method, key, headers });
    const fault = faults.shift() ?? lasting(method, key);
    if (fault === 'silent') return;
    if (fault === 'cut-upload') return void request.once('data', () => request.socket.destroy());
    const refused =
      faultOfSignature({ method, url, headers }, CREDENTIALS, Date.now()) ??
      (bucket === BUCKET ? null : 'NoSuchBucket');
    if (refused) return void answerError(response, STATUS[refused] ?? 403, refused, method);
    const body = await bodyOf(request);
    if (createHash('sha256').update(body).digest('hex') !== headers['x-amz-content-sha256'])
      return void answerError(response, 400, 'XAmzContentSHA256Mismatch', method);
    if (fault && fault !== 'cut-download')
      return void answerError(response, fault.status, fault.code, method);
    if (!key) return serveBucket(method, new URL(url, 'http://s3').searchParams, response);
    return serveObject(method, key, body, request, response, fault === 'cut-download');
  }

  function serveBucket(method: string, query: URLSearchParams, response: ServerResponse): void {
    if (method !== 'GET' || query.get('list-type') !== '2')
      return void answerError(response, 405, 'MethodNotAllowed', method);
    const token = query.get('continuation-token');
    const after = token ? Buffer.from(token, 'base64').toString() : '';
    const found = [...objects.keys()]
      .filter((key) => key.startsWith(query.get('prefix') ?? '') && key > after)
      .sort();
    const page = found.slice(0, PAGE);
    const more = found.length > PAGE;
    const next = Buffer.from(page.at(-1) ?? '').toString('base64');
    response
      .writeHead(200, { 'content-type': 'application/xml' })
      .end(
        `<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">` +
          `<Name>${BUCKET}</Name><KeyCount>${page.length}</KeyCount><MaxKeys>${PAGE}</MaxKeys><IsTruncated>${more}</IsTruncated>` +
          (more ? `<NextContinuationToken>${next}</NextContinuationToken>` : '') +
          page.map((key) => listed(key, objects.get(key) as S3Object)).join('') +
          `</ListBucketResult>`,
      );
  }

  function serveObject(
    method: string,
    key: string,
    body: Buffer,
    { headers }: IncomingMessage,
    response: ServerResponse,
    cut: boolean,
  ): void {
    if (method === 'PUT') {
      if (body.length !== Number(headers['content-length']))
        return void answerError(response, 400, 'IncompleteBody', method);
      objects.set(key, { body, contentType: headers['content-type'], lastModifiedMs: Date.now() });
      return void response.writeHead(200, { etag: `"${etagOf(body)}"` }).end();
    }
    if (method === 'DELETE') {
      objects.delete(key);
      return void response.writeHead(204).end();
    }
    if (method !== 'GET') return void answerError(response, 405, 'MethodNotAllowed', method);
    const object = objects.get(key);
    if (!object) return void answerError(response, 404, 'NoSuchKey', method);
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(headers.range ?? '') ?? [];
    const part = first ? object.body.subarray(Number(first), Number(last) + 1) : object.body;
    response.writeHead(first ? 206 : 200, {
      'content-length': part.length,
      'content-type': object.contentType,
      'last-modified': new Date(object.lastModifiedMs).toUTCString(),
      etag: `"${etagOf(object.body)}"`,
    });
    if (!cut) return void response.end(part);
    response.write(part.subarray(0, part.length / 2), () => response.destroy());
  }

  const server = createServer((request, response) => {
    serve(request, response).catch(() => request.socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    bucket: BUCKET,
    credentials: CREDENTIALS,
    objects,
    requests,
    fail: (...next) => void faults.push(...next),
    failAlways(fault, isMeant = () => true) {
      lasting = (method, key) => (fault && isMeant(method, key) ? fault : undefined);
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function answerError(response: ServerResponse, status: number, code: string, method: string): void {
  const text = `<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code><Message>${code}</Message></Error>`;
  response.writeHead(status, { 'content-type': 'application/xml' }).end(method === 'HEAD' ? undefined : text);
}

function listed(key: string, { body, lastModifiedMs }: S3Object): string {
  return (
    `<Contents><Key>${key}</Key><LastModified>${new Date(lastModifiedMs).toISOString()}</LastModified>` +
    `<ETag>&quot;${etagOf(body)}&quot;</ETag><Size>${body.length}</Size><StorageClass>STANDARD</StorageClass></Contents>`
  );
}

function etagOf(body: Buffer): string {
  return createHash('md5').update(body).digest('hex');
}
