/**
 * What a keeper (in the parent, which holds the locks) and its child (computes) say to each other.
 *
 * They travel over Node's IPC channel in `advanced` serialisation, so bytes stay bytes. Every message that asks carries
 * a `call` number, and exactly one answer bears the same number, unless the child dies first.
 */
import type { ErrorCode } from '../../../shared/contract/errors.js';
import type { Manifest } from '../../../shared/contract/models/manifest.js';
import type { Instance } from '../../../shared/contract/tensors/tensor.js';
import type { BackendName } from '../../backends/backend.js';
import type { StartMessage } from '../../process/child-process.js';

/** What the parent hands the child at the start, as its only argument (JSON). */
export interface ChildOptions {
  backend: BackendName | 'auto';
  cacheDir: string;
  logLevel: string;
}

/** Which backend serves, and why those before it in the order do not. */
export interface BackendReport {
  name: BackendName;
  device: string;
  refused: { name: BackendName; reason: string }[];
}

/** One instance's end: what was computed for it, or why nothing was. */
export type InstanceResult =
  | { ok: true; outputs: Instance }
  | { ok: false; code: ErrorCode; message: string };

export interface LoadReport {
  loadMs: number;
  warmUpMs: number;
  /** Largest |computed - golden|, null when the version has no golden vectors. */
  goldenDifference: number | null;
}

/** How fast a version computes at one batch size. */
export interface Speed {
  batchSize: number;
  rowsPerSecond: number;
}

export type ToChild =
  /** Asked while there is nothing else to do: whether it hears. */
  | { type: 'ping'; call: number }
  | { type: 'load'; call: number; folder: string; manifest: Manifest }
  | { type: 'unload'; call: number; model: string; version: number }
  /** Runs the version on its example for about `budgetMs`; answered by the speed, null where there is no example. */
  | { type: 'measure'; call: number; model: string; version: number; batchSize: number; budgetMs: number }
  /**
   * `instances` have equal shapes and are at most the version's maxBatchSize; `exact`: no row is added to them, and nothing is
   * done beside.
   */
  | { type: 'run'; call: number; model: string; version: number; instances: Instance[]; exact: boolean };

export type FromChild =
  | StartMessage<BackendReport>
  /** It has turned to this call though older ones are not answered yet: of this it dies, if it dies. */
  | { type: 'computing'; call: number }
  | { type: 'pong'; call: number }
  | { type: 'loaded'; call: number; report: LoadReport }
  | { type: 'unloaded'; call: number }
  | { type: 'measured'; call: number; speed: Speed | null }
  /** `rssBytes`: what the child holds of memory by now. */
  | { type: 'ran'; call: number; results: InstanceResult[]; computeMs: number; rssBytes: number }
  /** The whole call failed; for a run the parent finds the instance at fault by halves. */
  | { type: 'failed'; call: number; message: string };

/** What settles a call. */
export type ChildReply = Exclude<Extract<FromChild, { call: number }>, { type: 'computing' }>;
