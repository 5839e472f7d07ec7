/**
 * A model as Redis holds it, in one hash, and as the code reads it.
 */
import { sha256Of } from '../../base/hash.js';
import type { Shadow } from '../../contract/models/alias.js';
import type { Canary } from '../../contract/models/canary.js';
import type { Manifest } from '../../contract/models/manifest.js';
import type { VersionState, WaitedFor } from '../../contract/models/version-state.js';

/** A worker's report of a version. */
export interface VersionReport {
  backend: string | null;
  error: string | null;
  /** Figures of its loading, and of the backends where these were compared. */
  metrics: Record<string, unknown> | null;
  /** A version that serves or has failed waits for nothing; else for this, since then (RFC 3339). */
  waitingFor: { what: WaitedFor; since: string } | null;
  /** Sentences that an operator should read, though the version serves. */
  warnings: string[];
}

/** The part of a version that changes only with its files: one JSON text in the record. */
export interface StoredVersion {
  manifest: Manifest;
  /** RFC 3339. */
  createdAt: string;
  /** The bytes of all its files together. */
  sizeBytes: number;
  /** The hash over the version's files and their hashes. */
  sha256: string;
  /** The files are in the repository; else they are in the folder of bundled models. */
  uploaded: boolean;
  /** The folder of its blobs, an id; missing where its files are in the folder of bundled models, or of an older release. */
  blobs?: string;
}

export interface Version extends StoredVersion, VersionReport {
  state: VersionState;
  /** When upkeep purges the version, in milliseconds since the Unix epoch, or later where jobs need it; null = it stays. */
  deletedAfter: number | null;
}

export interface Model {
  name: string;
  description: string;
  /** The newest first. */
  versions: Version[];
  /** The numbers of versions whose files are gone. They are not given again. */
  purged: number[];
  /** It takes no new jobs, and goes when its last job has ended. */
  deleting: boolean;
  /** The version that each alias means. */
  aliases: Record<string, number>;
  /** By alias. */
  canaries: Record<string, Canary>;
  /** By alias. */
  shadows: Record<string, Shadow>;
}

/** The states of a version that nobody may use or see any more. */
const PURGED: ReadonlySet<string> = new Set(['purging', 'purged']);

export const UNREPORTED: VersionReport = {
  backend: null,
  error: null,
  metrics: null,
  waitingFor: null,
  warnings: [],
};

/** Returns the model of a hash's fields. Records of older releases lack `uploaded` and `warnings`. */
export function decodeModel(name: string, fields: Record<string, string>): Model {
  const model: Model = {
    name,
    description: fields.description ?? '',
    versions: [],
    purged: [],
    deleting: fields.deleting !== undefined,
    aliases: {},
    canaries: {},
    shadows: {},
  };
  for (const [field, value] of Object.entries(fields)) {
    const [kind, key = ''] = field.split(':');
    if (kind === 'alias') model.aliases[key] = Number(value);
    if (kind === 'shadow') model.shadows[key] = JSON.parse(value) as Shadow;
    if (kind === 'canary') model.canaries[key] = JSON.parse(value) as Canary;
    if (kind === 'state' && PURGED.has(value)) model.purged.push(Number(key));
    else if (kind === 'version' && !PURGED.has(fields[`state:${key}`] ?? ''))
      model.versions.push(decodeVersion(key, value, fields));
  }
  model.versions.sort((a, b) => b.manifest.version - a.manifest.version);
  return model;
}

function decodeVersion(number: string, stored: string, fields: Record<string, string>): Version {
  const text = fields[`report:${number}`];
  const deletedAfter = fields[`deletedAfter:${number}`];
  const version = { uploaded: false, ...JSON.parse(stored) } as StoredVersion;
  const report = text ? { ...UNREPORTED, ...(JSON.parse(text) as Partial<VersionReport>) } : UNREPORTED;
  const state = (fields[`state:${number}`] ?? 'pending') as VersionState;
  const isAwaited = state === 'pending' || state === 'loading';
  const waitingFor = report.waitingFor ?? { what: 'worker', since: version.createdAt };
  return {
    ...version,
    ...report,
    state,
    waitingFor: isAwaited ? waitingFor : null,
    deletedAfter: deletedAfter ? Number(deletedAfter) : null,
  };
}

/**
 * Returns what stands for the manifest of a version that nobody could read. It has no files, as no other has, and no signature to
 * show.
 */
export function unreadableManifest(name: string, version: number, description: string): Manifest {
  const batching = { maxBatchSize: 1, maxDelayMs: 0 };
  const signature = { inputs: [], outputs: [] };
  return { name, version, description, format: 'layers', signature, batching, files: {} };
}

/** Tells whether a version has the manifest of one that nobody could read. */
export function isUnreadable({ manifest }: Pick<StoredVersion, 'manifest'>): boolean {
  return Object.keys(manifest.files).length === 0;
}

/** Returns the SHA-256, in hex, over the paths and hashes of a version's files. */
export function filesHash(files: Manifest['files']): string {
  return sha256Of(JSON.stringify(files));
}
