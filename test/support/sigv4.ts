/**
 * AWS Signature Version 4 as a server of S3 checks it, written from its description and not from the SDK that it checks.
 */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';

export interface SigningCredentials {
  accessKeyId: string;
  secretAccessKey: string;
}

export interface SignedRequest {
  method: string;
  /** The path and the query as they came. */
  url: string;
  headers: IncomingHttpHeaders;
}

const FORM =
  /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/s3\/aws4_request, ?SignedHeaders=([a-z0-9;-]+), ?Signature=([0-9a-f]{64})$/;
const MAX_SKEW_MS = 15 * 60_000;

/** Returns S3's code for the fault of the signature, or null when it is right. */
export function faultOfSignature(
  request: SignedRequest,
  credentials: SigningCredentials,
  nowMs: number,
): string | null {
  const { headers } = request;
  if (!headers.authorization) return 'AccessDenied';
  const form = FORM.exec(headers.authorization);
  if (!form) return 'AuthorizationHeaderMalformed';
  const [, accessKeyId = '', date = '', region = '', signedHeaders = '', signature = ''] = form;
  if (accessKeyId !== credentials.accessKeyId) return 'InvalidAccessKeyId';
  const time = String(headers['x-amz-date']);
  if (!time.startsWith(date) || Math.abs(parseTime(time) - nowMs) > MAX_SKEW_MS)
    return 'RequestTimeTooSkewed';
  const names = signedHeaders.split(';');
  const mustBeSigned = Object.keys(headers).filter((name) => name === 'host' || name.startsWith('x-amz-'));
  if (mustBeSigned.some((name) => !names.includes(name))) return 'AccessDenied';

  const scope = `${date}/${region}/s3/aws4_request`;
  const canonical = canonicalRequest(request, names);
  const text = ['AWS4-HMAC-SHA256', time, scope, sha256(canonical)].join('\n');
  const expected = hmac(signingKey(credentials.secretAccessKey, date, region), text);
  return timingSafeEqual(expected, Buffer.from(signature, 'hex')) ? null : 'SignatureDoesNotMatch';
}

function canonicalRequest({ method, url, headers }: SignedRequest, names: string[]): string {
  const [path = '', query = ''] = url.split('?');
  return [
    method,
    path.split('/').map(encodeAgain).join('/'),
    canonicalQuery(query),
    ...names.map((name) => `${name}:${String(headers[name]).trim().replace(/ +/g, ' ')}`),
    '',
    names.join(';'),
    headers['x-amz-content-sha256'],
  ].join('\n');
}

function canonicalQuery(query: string): string {
  if (!query) return '';
  return query
    .split('&')
    .map((pair) => {
      const [name = '', ...value] = pair.split('=');
      return `${encodeAgain(name)}=${encodeAgain(value.join('='))}`;
    })
    .sort()
    .join('&');
}

/** Encodes everything except the unreserved characters (RFC 3986), whatever the sender had encoded. */
function encodeAgain(text: string): string {
  return encodeURIComponent(decodeURIComponent(text)).replace(
    /[!'()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

function signingKey(secret: string, date: string, region: string): Buffer {
  return [date, region, 's3', 'aws4_request'].reduce(hmac, Buffer.from(`AWS4${secret}`));
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

/** Parses a time such as `20130524T000000Z`. */
function parseTime(text: string): number {
  return Date.parse(text.replace(/^(....)(..)(..)T(..)(..)(..)Z$/, '$1-$2-$3T$4:$5:$6Z'));
}
