/**
 * Routes of files: upload, look, list, download with an API key or by a signed address, delete.
 */
import type Router from '@koa/router';
import type { Context } from 'koa';
import { SluiceError } from '../../shared/contract/errors.js';
import { cleanFilename, type FileRecord, presentFile } from '../../shared/contract/file.js';
import type { Files } from '../../shared/core/files/files.js';
import type { Audit } from '../auth/audit.js';
import { type BearerAuth, principalOf } from '../auth/bearer.js';
import { answerRange } from '../http/byte-range.js';
import { answerMade, idempotencyKeyOf } from '../http/idempotency.js';
import { readFileParts } from '../http/multipart.js';
import {
  ID,
  IDEMPOTENCY_KEY,
  isSigned,
  json,
  KEY_OR_ADDRESS,
  NO_CONTENT,
  type Operations,
  ref,
  routesOf,
  SIGNED_QUERY,
} from '../http/operations.js';
import { PAGE_QUERY, page, pageSchema, parsePage } from '../http/page.js';

export interface FileRoutesDeps {
  files: Files;
  auth: BearerAuth;
  audit: Audit;
  /** The bound of one file. */
  maxBytes: number;
}

const BYTES = { 'application/octet-stream': { schema: {} } };

type FileContext = Context & { params: { id: string } };

export const fileOperations = {
  'post /v1/files': {
    operationId: 'uploadFile',
    summary: 'Upload a file',
    scope: 'files:write',
    parameters: [IDEMPOTENCY_KEY],
    requestBody: {
      required: true,
      content: {
        'multipart/form-data': {
          schema: {
            type: 'object',
            additionalProperties: false,
            required: ['file'],
            properties: { file: { type: 'string', contentMediaType: 'application/octet-stream' } },
          },
        },
      },
    },
    responses: { 201: json('The file.', ref('File')) },
  },
  'get /v1/files': {
    operationId: 'listFiles',
    summary: "List the tenant's files, newest first",
    scope: 'files:read',
    parameters: PAGE_QUERY,
    responses: { 200: json('A page.', pageSchema(ref('File'))) },
  },
  'get /v1/files/{id}': {
    operationId: 'getFile',
    summary: 'Look at a file',
    scope: 'files:read',
    parameters: [ID],
    responses: { 200: json('The file, and an address to download it for an hour.', ref('File')) },
  },
  'get /v1/files/{id}/content': {
    operationId: 'downloadFile',
    summary: 'Download a file, with an API key or by its signed address',
    scope: null,
    security: KEY_OR_ADDRESS,
    parameters: [
      ID,
      ...SIGNED_QUERY,
      {
        name: 'Range',
        in: 'header',
        description: 'One range of bytes, so that a download that was cut can go on.',
        schema: { type: 'string', examples: ['bytes=1048576-'] },
      },
    ],
    responses: {
      200: { description: 'The bytes.', content: BYTES },
      206: { description: 'The bytes of the range.', content: BYTES },
    },
  },
  'delete /v1/files/{id}': {
    operationId: 'deleteFile',
    summary: 'Delete a file',
    scope: 'files:write',
    parameters: [ID],
    responses: { 204: NO_CONTENT },
  },
} as const satisfies Operations;

/** Returns the routes of files. Each refuses a file that does not exist, or belongs to another tenant, with `not_found`. */
export function fileRoutes({ files, auth, audit, maxBytes }: FileRoutesDeps): Router {
  const authRead = auth('files:read');

  async function upload(ctx: Context): Promise<void> {
    const { tenant } = principalOf(ctx);
    const key = idempotencyKeyOf(ctx);
    const created = await readFileParts(ctx, { maxBytes, maxParts: 1 }, (part) =>
      files.create(tenant, { ...part, filename: cleanFilename(part.filename ?? undefined) }, key),
    );
    const { record, replayed } = created[0] as (typeof created)[number];
    answerMade(ctx, 201, `/v1/files/${record.id}`, replayed);
    ctx.body = presentFile(record);
  }

  async function find(ctx: FileContext): Promise<FileRecord> {
    return demand(await files.get(principalOf(ctx).tenant, ctx.params.id));
  }

  async function show(ctx: FileContext): Promise<void> {
    const record = await find(ctx);
    ctx.body = { ...presentFile(record), url: await files.urlOf(record) };
  }

  async function list(ctx: Context): Promise<void> {
    const { limit, cursor } = parsePage(ctx, 'file');
    const { records, nextCursor } = await files.list(principalOf(ctx).tenant, limit, cursor);
    ctx.body = page(records.map(presentFile), nextCursor);
  }

  /** A signed address takes the place of an API key. */
  const authAndDownload = (ctx: FileContext) =>
    isSigned(ctx) ? download(ctx) : authRead(ctx, () => download(ctx));

  async function download(ctx: FileContext): Promise<void> {
    const record = isSigned(ctx) ? demand(await files.findSigned(ctx.params.id, ctx.query)) : await find(ctx);
    const range = answerRange(ctx, record.bytes, record.sha256);
    const blob = await files.open(record, range ?? undefined);
    if (!blob) throw noSuchFile();
    ctx.body = blob.stream;
    ctx.attachment(record.filename ?? record.id);
    ctx.set({ 'Content-Type': record.contentType, 'Content-Security-Policy': "default-src 'none'; sandbox" });
    ctx.length = blob.sizeBytes;
  }

  async function remove(ctx: FileContext): Promise<void> {
    const { id } = ctx.params;
    if (!(await files.remove(principalOf(ctx).tenant, id))) throw noSuchFile();
    audit(ctx, 'file.delete', { file: id });
    ctx.status = 204;
  }

  return routesOf(fileOperations, auth, {
    'post /v1/files': upload,
    'get /v1/files': list,
    'get /v1/files/{id}': show,
    'get /v1/files/{id}/content': authAndDownload,
    'delete /v1/files/{id}': remove,
  });
}

function demand(record: FileRecord | null): FileRecord {
  if (!record) throw noSuchFile();
  return record;
}

function noSuchFile(): SluiceError {
  return new SluiceError('not_found', 'There is no such file.');
}
