/**
 * Routes of files: upload, look, list, download with an API key or by a signed address, delete.
 */
import Router from '@koa/router';
import type { Context, Middleware } from 'koa';
import type { Clock } from '../../shared/base/clock.js';
import { SluiceError } from '../../shared/contract/errors.js';
import { cleanFilename, type FileRecord, presentFile } from '../../shared/contract/file.js';
import type { Files } from '../../shared/core/files/files.js';
import type { Audit } from '../auth/audit.js';
import { type createAuth, principalOf } from '../auth/bearer.js';
import { answerMade, idempotencyKeyOf } from '../http/idempotency.js';
import { readFileParts } from '../http/multipart.js';
import { page, parsePage } from '../http/page.js';

export interface FileRoutesDeps {
  files: Files;
  auth: ReturnType<typeof createAuth>;
  audit: Audit;
  clock: Clock;
  /** Of a file. */
  maxBytes: number;
}

type FileContext = Context & { params: { id: string } };

export function fileRoutes({ files, auth, audit, clock, maxBytes }: FileRoutesDeps): Router {
  const authRead = auth('files:read');

  async function upload(ctx: Context): Promise<void> {
    const { tenant } = principalOf(ctx);
    const key = idempotencyKeyOf(ctx);
    const created = await readFileParts(ctx, clock, { maxBytes, maxParts: 1 }, (part) =>
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

  const authUnlessSigned: Middleware = (ctx, next) => (isSigned(ctx) ? next() : authRead(ctx, next));

  async function download(ctx: FileContext): Promise<void> {
    const record = isSigned(ctx) ? demand(await files.findSigned(ctx.params.id, ctx.query)) : await find(ctx);
    const blob = await files.open(record);
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

  return new Router()
    .post('/v1/files', auth('files:write'), upload)
    .get('/v1/files', authRead, list)
    .get('/v1/files/:id', authRead, show)
    .get('/v1/files/:id/content', authUnlessSigned, download)
    .delete('/v1/files/:id', auth('files:write'), remove);
}

function isSigned(ctx: Context): boolean {
  return ctx.query.signature !== undefined;
}

function demand(record: FileRecord | null): FileRecord {
  if (!record) throw noSuchFile();
  return record;
}

function noSuchFile(): SluiceError {
  return new SluiceError('not_found', 'There is no such file.');
}
