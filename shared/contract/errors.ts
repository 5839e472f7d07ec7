/**
 * Errors: one closed table and one class.
 *
 * Every failure that leaves this system, in a response or in a job, carries a `code` of this table. The message is for the
 * caller. Details that only an operator may read travel as `cause` and end in the log.
 */

interface Entry {
  /** HTTP status when the error answers a request. */
  status: number;
  /** Whether the same request may succeed later without being changed. */
  retryable: boolean;
  /** Public one-line text (RFC 9457 `title`). */
  title: string;
}

export const ERRORS = {
  // Faults of the request.
  malformed_json: { status: 400, retryable: false, title: 'The body is not valid JSON.' },
  malformed_request: { status: 400, retryable: false, title: 'The request is malformed.' },
  unknown_field: {
    status: 400,
    retryable: false,
    title: 'The body has a field that this route does not know.',
  },
  unauthenticated: { status: 401, retryable: false, title: 'A valid API key is required.' },
  insufficient_scope: {
    status: 403,
    retryable: false,
    title: 'The API key lacks the scope this call needs.',
  },
  not_found: { status: 404, retryable: false, title: 'There is no such resource.' },
  model_not_found: { status: 404, retryable: false, title: 'There is no such model, version or alias.' },
  method_not_allowed: { status: 405, retryable: false, title: 'The resource does not answer this method.' },
  body_too_slow: { status: 408, retryable: true, title: 'The body did not arrive in time.' },
  job_not_finished: { status: 409, retryable: true, title: 'The job has not ended yet.' },
  job_finished: { status: 409, retryable: false, title: 'The job has already ended.' },
  model_failed: {
    status: 409,
    retryable: false,
    title: 'This version failed to load; no worker can run it.',
  },
  version_exists: { status: 409, retryable: false, title: 'The model has a version of this number.' },
  model_bundled: { status: 409, retryable: false, title: 'The models folder holds it, so it comes back.' },
  model_deleting: {
    status: 409,
    retryable: true,
    title: 'The model is being deleted; its jobs are not done.',
  },
  batch_finished: { status: 409, retryable: false, title: 'The batch has already ended.' },
  version_retired: { status: 410, retryable: false, title: 'This version takes no new jobs.' },
  link_expired: { status: 410, retryable: false, title: 'The time of this signed address is over.' },
  body_too_large: { status: 413, retryable: false, title: 'The body is larger than the limit.' },
  unsupported_media_type: {
    status: 415,
    retryable: false,
    title: 'The content type or encoding is not supported.',
  },
  range_not_satisfiable: {
    status: 416,
    retryable: false,
    title: 'The content ends before the range begins.',
  },
  invalid_input: { status: 422, retryable: false, title: 'A value is missing or invalid.' },
  idempotency_key_reused: {
    status: 422,
    retryable: false,
    title: 'The Idempotency-Key was used with another body.',
  },
  url_not_allowed: { status: 422, retryable: false, title: 'The URL is not one this service may call.' },
  queue_full_for_tenant: { status: 429, retryable: true, title: 'Your tenant has too many queued jobs.' },
  too_many_waits: { status: 429, retryable: true, title: 'Your tenant holds too many waiting requests.' },
  too_many_streams: { status: 429, retryable: true, title: 'Your tenant holds too many event streams.' },
  too_many_batches: { status: 429, retryable: true, title: 'Your tenant has too many open batches.' },
  too_many_endpoints: {
    status: 429,
    retryable: false,
    title: 'Your tenant has as many webhook endpoints as it may have.',
  },
  too_many_deliveries: {
    status: 429,
    retryable: true,
    title: 'As many deliveries to this endpoint are pending as are kept.',
  },
  // Faults of the service.
  internal: { status: 500, retryable: true, title: 'Something failed on our side.' },
  queue_full: { status: 503, retryable: true, title: 'The queue of this model is full.' },
  unavailable: {
    status: 503,
    retryable: true,
    title: 'The service cannot reach its store; the outcome of a submit is unknown.',
  },
  not_replicated: {
    status: 503,
    retryable: true,
    title: 'The call is carried out, and too few replicas have it yet.',
  },
  insufficient_storage: {
    status: 503,
    retryable: true,
    title: 'The store is nearly full; no job is taken until it has room.',
  },
  shutting_down: { status: 503, retryable: true, title: 'This process is shutting down.' },
  // Faults in the execution of a job or of one of its instances.
  backend_error: { status: 500, retryable: false, title: 'The backend refused this instance.' },
  input_crashed_backend: { status: 500, retryable: false, title: 'This instance crashes the backend.' },
  invalid_image: { status: 422, retryable: false, title: 'The image cannot be decoded.' },
  invalid_audio: { status: 422, retryable: false, title: 'The sound cannot be decoded.' },
  non_finite_output: {
    status: 500,
    retryable: false,
    title: 'The model computed NaN or Infinity for this instance.',
  },
  instances_failed: { status: 500, retryable: false, title: 'At least one instance failed.' },
  timeout: { status: 504, retryable: true, title: 'The execution took longer than timeoutSeconds.' },
  expired: { status: 504, retryable: true, title: 'The job was not started within ttlSeconds.' },
  execution_lost: { status: 500, retryable: true, title: 'The job was started too often without an end.' },
} as const satisfies Record<string, Entry>;

export type ErrorCode = keyof typeof ERRORS;
export const ERROR_CODES = Object.keys(ERRORS) as ErrorCode[];

/** One fault in the input: `path` is a JSON Pointer (RFC 6901) into the body. */
export interface Fault {
  path: string;
  message: string;
}

export interface ErrorExtras {
  faults?: readonly Fault[];
  retryAfterSeconds?: number;
  cause?: unknown;
}

/** A failure with a code of the table; without `detail` its message is the title of the code. */
export class SluiceError extends Error {
  readonly code: ErrorCode;
  readonly faults: readonly Fault[];
  readonly retryAfterSeconds: number | undefined;

  constructor(code: ErrorCode, detail?: string, extras: ErrorExtras = {}) {
    super(detail ?? ERRORS[code].title, { cause: extras.cause });
    this.name = 'SluiceError';
    this.code = code;
    this.faults = extras.faults ?? [];
    this.retryAfterSeconds = extras.retryAfterSeconds;
  }

  get status(): number {
    return ERRORS[this.code].status;
  }

  get retryable(): boolean {
    return ERRORS[this.code].retryable;
  }
}

/** Returns the error of a check of input, `invalid_input` unless told. Its message is the first fault; it lists all of them. */
export function invalid(faults: readonly Fault[], code: ErrorCode = 'invalid_input'): SluiceError {
  const first = faults[0];
  const more = faults.length > 1 ? ` (and ${faults.length - 1} more, see errors)` : '';
  return new SluiceError(code, first ? `${first.path || 'The body'}: ${first.message}${more}` : undefined, {
    faults,
  });
}

/** Returns the view of an error that belongs to one of several items. The paths of its faults begin at the item. */
export function presentError({ code, message, retryable, retryAfterSeconds, faults }: SluiceError) {
  return {
    code,
    message,
    retryable,
    ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
    ...(faults.length > 0 ? { errors: faults } : {}),
  };
}
