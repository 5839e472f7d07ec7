/**
 * A file: bytes that a caller has uploaded, to name them in jobs. It never changes, and is forgotten when its time is over.
 */
import { toTimestamp } from '../base/clock.js';
import { type JsonSchema, NULLABLE_TEXT, TIME, type TypeOf } from './schema.js';

/** Times in milliseconds since the Unix epoch. */
export interface FileRecord {
  id: string;
  tenant: string;
  /** Key of its blob. */
  key: string;
  bytes: number;
  /** In lower-case hexadecimal. */
  sha256: string;
  /** The caller's own statement; nothing checks it. */
  contentType: string;
  /** Without folders; null when the caller gave none. */
  filename: string | null;
  createdAt: number;
  expiresAt: number;
}

/** The view of a file that callers get. */
export const fileViewSchema = {
  type: 'object',
  additionalProperties: false,
  required: ['id', 'bytes', 'sha256', 'contentType', 'filename', 'createdAt', 'expiresAt'],
  properties: {
    id: { type: 'string' },
    bytes: { type: 'integer' },
    sha256: { type: 'string' },
    contentType: { type: 'string' },
    filename: NULLABLE_TEXT,
    createdAt: TIME,
    expiresAt: TIME,
    url: {
      type: 'string',
      format: 'uri-reference',
      description: 'Reads the content without an API key for an hour; only where one file is looked at.',
    },
  },
} as const satisfies JsonSchema;
export type FileView = TypeOf<typeof fileViewSchema>;

export const DEFAULT_CONTENT_TYPE = 'application/octet-stream';
const MAX_FILENAME_LENGTH = 255;
/** The names of RFC 6838, section 4.2; parameters are not kept. */
const CONTENT_TYPE = /^[a-z0-9][a-z0-9!#$&^_.+-]{0,126}\/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}$/;
/** Control characters, and characters that turn the direction of the text around. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is meant
const UNSHOWABLE = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** Returns the view of a file for callers. */
export function presentFile(record: FileRecord): FileView {
  const { id, bytes, sha256, contentType, filename } = record;
  return {
    id,
    bytes,
    sha256,
    contentType,
    filename,
    createdAt: toTimestamp(record.createdAt),
    expiresAt: toTimestamp(record.expiresAt),
  };
}

/** Returns a name without its folders and without characters that cannot be shown; null when nothing is left. */
export function cleanFilename(text: string | undefined): string | null {
  const name = (text ?? '').replace(UNSHOWABLE, '').split(/[/\\]/).at(-1) ?? '';
  if (name === '.' || name === '..') return null;
  return [...name].slice(0, MAX_FILENAME_LENGTH).join('') || null;
}

/** Returns the media type in lower case and without parameters; `application/octet-stream` when it is none. */
export function cleanContentType(text: string | undefined): string {
  const type = (text ?? '').trim().toLowerCase();
  return CONTENT_TYPE.test(type) ? type : DEFAULT_CONTENT_TYPE;
}
