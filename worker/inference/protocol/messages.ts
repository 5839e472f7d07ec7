/**
 * Messages between a child supervisor (in the parent, which holds the locks) and its child (which computes).
 *
 * They travel over Node's IPC channel in `advanced` serialisation, so that bytes stay bytes. Every call has a number, and exactly
 * one reply bears the same number, unless the child dies first.
 */
import type { ErrorCode } from '../../../shared/contract/errors.js';
import type { Manifest } from '../../../shared/contract/models/manifest.js';
import type { Instance } from '../../../shared/contract/tensors/tensor.js';
import type { BackendName, RunOptions } from '../../backends/backend.js';
import type { StartMessage } from '../../process/child-process.js';

/** The child gets its options at the start, as its only argument (JSON). */
export interface ChildOptions {
  backend: BackendName | 'auto';
  /** Where the libraries of backends lie. */
  librariesDir: string;
  logLevel: string;
}

/** A report names the child's backend, and says why those before it in the order do not serve. */
export interface BackendReport {
  name: BackendName;
  device: string;
  refused: { name: BackendName; reason: string }[];
}

/** A result holds what was computed for one instance, or why nothing was. */
export type InstanceResult =
  | { ok: true; outputs: Instance }
  | { ok: false; code: ErrorCode; message: string };

/** A signature of a version and outputs of that; by default the first one and all of them. */
export type Selection = RunOptions;

export interface LoadReport {
  loadMs: number;
  warmUpMs: number;
  /** Signatures whose predictions depend on who shares the batch, so that each job has batches of its own. */
  isolatedSignatures: readonly string[];
  /** It has computed an instance here; else no instance is known that it takes. */
  wasComputed: boolean;
  /** Sentences that an operator should read. */
  warnings: string[];
  /** The largest |computed - golden|; null when the version has no golden vectors. */
  goldenDifference: number | null;
}

/** A speed says how fast a version computes at one batch size. */
export interface Speed {
  batchSize: number;
  rowsPerSecond: number;
}

/** A measurement runs a version on its example. The reply is the speed, or null where there is no example. */
export interface Measurement {
  batchSize: number;
  /** It takes about so long, but has `leastRuns` runs however slow they are. */
  budgetMs: number;
  leastRuns: number;
}

export type ToChild =
  /** Asks a child that has nothing else to do whether it is alive. */
  | { type: 'ping'; call: number }
  /** Another child may have checked the version and `found` its isolated signatures: golden vectors and warm-up are left out. */
  | { type: 'load'; call: number; folder: string; manifest: Manifest; found: readonly string[] | null }
  | { type: 'unload'; call: number; model: string; version: number }
  | ({ type: 'measure'; call: number; model: string; version: number } & Measurement)
  /**
   * Computes `instances`, which have equal shapes and are at most the version's maxBatchSize. With `exact` no padding row is
   * added to them, unless the model takes no other size, and nothing is done beside.
   */
  | {
      type: 'run';
      call: number;
      model: string;
      version: number;
      instances: Instance[];
      select?: Selection | undefined;
      exact: boolean;
    };

export type FromChild =
  | StartMessage<BackendReport>
  /** The child has turned to this call though older ones are pending. If it dies now, this call is at fault. */
  | { type: 'computing'; call: number }
  | { type: 'pong'; call: number }
  | { type: 'loaded'; call: number; report: LoadReport }
  | { type: 'unloaded'; call: number }
  | { type: 'measured'; call: number; speed: Speed | null }
  /** `rssBytes` is the memory that the child holds by now. */
  | { type: 'ran'; call: number; results: InstanceResult[]; computeMs: number; rssBytes: number }
  /** The whole call failed. The parent finds the instance at fault of a run by halves. */
  | { type: 'failed'; call: number; message: string };

/** A reply settles a call. */
export type ChildReply = Exclude<Extract<FromChild, { call: number }>, { type: 'computing' }>;
