/**
 * Holds every answer of the API that an end-to-end test gets by `fetch` against the OpenAPI document of that API, and fails
 * the test whose answers do not match it: by status, media type or body.
 *
 * Files that follow each other in a process share this module, so that `fetch` is watched once and each part of the document is
 * compiled once. Answers are checked beside the test, so no test waits for it.
 */
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import { expect } from 'vitest';
import { parseTimestamp } from '../../shared/base/clock.js';

/** The answers of an operation, by status; `default` stands for every other one. */
type Responses = Record<string, { content?: Record<string, object> }>;
type Paths = Record<string, Record<string, { responses: Responses }>>;

interface Document {
  paths: Paths;
  /** The validator of the part at a JSON Pointer. */
  validatorOf(pointer: string): ValidateFunction;
}

const DOCUMENT = '/openapi.json';
/** Stands for a file, which is answered with the type that it was uploaded with. */
const ANY_TYPE = 'application/octet-stream';

const AJV_OPTIONS = {
  strict: false,
  allErrors: true,
  formats: {
    'date-time': (text: string) => !Number.isNaN(parseTimestamp(text)),
    'uri-reference': (text: string) => URL.canParse(text, 'http://127.0.0.1'),
  },
};

const plainFetch = globalThis.fetch;
/** The document of each API, by its origin. */
const described = new Map<string, Promise<Document | null>>();
/** The documents by their texts, because most APIs have the same. */
const known = new Map<string, Document>();
const checks: Promise<string | null>[] = [];

globalThis.fetch = async (input, init) => {
  const response = await plainFetch(input, init);
  // Preflights belong to the Fetch standard and to no operation.
  const isPreflight = init?.method === 'OPTIONS' && response.status === 204;
  if (isOfApi(response) && !isPreflight) {
    // A copy of a stream that is never read would keep its connection open.
    const copy = typeOf(response).endsWith('json') ? response.clone() : response;
    checks.push(faultOf(init?.method ?? 'GET', copy).catch(String));
  }
  return response;
};

/** Fails the test when an answer since the last call does not match. */
export async function expectDescribedAnswers(): Promise<void> {
  const faults = (await Promise.all(checks.splice(0))).filter((fault) => fault !== null);
  expect(faults, 'answers that the OpenAPI document does not describe').toEqual([]);
}

/** Tells the API, which alone numbers its answers, from receivers, stores and workers. */
function isOfApi({ url, headers }: Response): boolean {
  return headers.has('x-request-id') || new URL(url).pathname.startsWith('/v1/');
}

/** Returns what the document does not describe of an answer, null when it describes it all. */
async function faultOf(method: string, response: Response): Promise<string | null> {
  const { origin, pathname } = new URL(response.url);
  const reading = described.get(origin) ?? read(origin);
  described.set(origin, reading);
  const document = await reading;
  if (!document) {
    // The test has killed this API meanwhile; the next one will describe itself.
    described.delete(origin);
    return null;
  }
  const call = `${method} ${pathname} -> ${response.status}`;
  const type = typeOf(response);
  const { pointer, content } = answerOf(document.paths, method, pathname, response.status);
  if (!content) return type === '' ? null : `${call}: ${type}, where no body is described`;
  if (!Object.hasOwn(content, type)) {
    if (response.ok && Object.hasOwn(content, ANY_TYPE)) return null;
    return `${call}: ${type || 'no body'} instead of ${Object.keys(content).join(' or ')}`;
  }
  if (method === 'HEAD' || !type.endsWith('json')) return null;
  const text = await response.text().catch(() => null);
  if (text === null) return null; // The test has aborted this request.
  const validate = document.validatorOf(`${pointer}/content/${escapePointer(type)}/schema`);
  if (validate(JSON.parse(text))) return null;
  return `${call}: ${new Ajv2020().errorsText(validate.errors, { dataVar: '' })}`;
}

/** Returns what the document says of an answer. Calls that it does not know are answered with a problem, as all errors are. */
function answerOf(paths: Paths, method: string, pathname: string, status: number) {
  const verb = method === 'HEAD' ? 'get' : method.toLowerCase();
  const [path] = Object.keys(paths)
    .filter((each) => paths[each]?.[verb] && patternOf(each).test(pathname))
    // `/v1/jobs/bulk` is no job.
    .sort((a, b) => a.split('{').length - b.split('{').length);
  const [known, operation] = path === undefined ? ['/livez', 'get'] : [path, verb];
  const responses = paths[known]?.[operation]?.responses ?? {};
  const key = path !== undefined && Object.hasOwn(responses, status) ? String(status) : 'default';
  return {
    pointer: ['/paths', escapePointer(known), operation, 'responses', key].join('/'),
    content: responses[key]?.content,
  };
}

function patternOf(path: string): RegExp {
  return new RegExp(`^${path.replace(/\{\w+\}/g, '[^/]+')}$`);
}

function typeOf({ headers }: Response): string {
  return headers.get('content-type')?.split(';')[0] ?? '';
}

/** Resolves to null when the API does not answer. */
async function read(origin: string): Promise<Document | null> {
  const text = await plainFetch(origin + DOCUMENT)
    .then((response) => response.text())
    .catch(() => null);
  if (text === null) return null;
  const document = known.get(text) ?? open(JSON.parse(text));
  known.set(text, document);
  return document;
}

function open(document: { paths: Paths }): Document {
  const ajv = new Ajv2020(AJV_OPTIONS).addSchema(document, DOCUMENT);
  const validators = new Map<string, ValidateFunction>();
  return {
    paths: document.paths,
    validatorOf(pointer) {
      const validate = validators.get(pointer) ?? ajv.compile({ $ref: `${DOCUMENT}#${pointer}` });
      validators.set(pointer, validate);
      return validate;
    },
  };
}

/** Escapes a token of a JSON Pointer in the fragment of a URI (RFC 6901, section 6). */
function escapePointer(token: string): string {
  return encodeURIComponent(token.replaceAll('~', '~0').replaceAll('/', '~1'));
}
