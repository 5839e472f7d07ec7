/**
 * Models: which versions exist, which state they are in, and which version a name means.
 *
 *   pending -> loading -> ready | failed        any -> retired, for as long as its files do not change -> purged
 *
 * A version is `ready` once a worker has loaded it and checked its golden vectors. A job for a version that is still pending or
 * loading is accepted and waits. The alias `latest` is set when a model is first registered, and moves to a newer version when
 * that first becomes ready. Otherwise it stays where a caller put it, as other aliases do.
 */
import { type Clock, toTimestamp } from '../../base/clock.js';
import { SluiceError } from '../../contract/errors.js';
import { newId } from '../../contract/ids.js';
import type { AliasRequest } from '../../contract/models/alias.js';
import { beginCanary } from '../../contract/models/canary.js';
import type { VersionFiles } from '../../contract/models/manifest.js';
import { parseModelRef, versionKey } from '../../contract/models/model-ref.js';
import type { VersionState, WaitedFor } from '../../contract/models/version-state.js';
import type { Redis } from '../../redis/connect.js';
import type { Keys } from '../../redis/keys.js';
import { loadScript } from '../../redis/load-script.js';
import {
  decodeModel,
  filesHash,
  type Model,
  type StoredVersion,
  UNREPORTED,
  type VersionReport,
} from './model-record.js';
import { type Resolved, resolveVersion } from './resolve-version.js';

export type Models = ReturnType<typeof createModels>;

/** The number of a bundled version belongs to an uploaded one. */
export class NumberTaken extends Error {}

/** The numbers of a model's versions. None is given twice, so that who slept takes no version for another. */
export interface VersionNumbers {
  /** The numbers of versions that exist. */
  live: readonly number[];
  isGiven(version: number): boolean;
  /** The number of the next upload. */
  next: number;
}

/** For so long a process may use what it last read of a model. */
const FRESH_MS = 1000;

export interface ModelsDeps {
  redis: Redis;
  keys: Keys;
  clock: Clock;
  /** Returns a number from 0 to below 1, by which canaries and shadows are drawn. */
  random?: () => number;
}

/** A worker tells this of a version. The version waits for `waitingFor` from now on. */
type ReportDetail = Partial<Omit<VersionReport, 'waitingFor'>> & {
  waitingFor?: WaitedFor;
  /** False for a version that serves though it has never computed anything. */
  wasComputed?: boolean;
  /** True where no worker serves it, so that `ready` does not stand. */
  isUnserved?: boolean;
};

/** Returns the registry of models. */
export function createModels({ redis, keys, clock, random = Math.random }: ModelsDeps) {
  const reportVersion = loadScript(redis, 'report-version');
  const addVersion = loadScript(redis, 'add-version');
  const moveAliasTo = loadScript(redis, 'move-alias');
  const registerVersion = loadScript(redis, 'register-version');
  const retireVersion = loadScript(redis, 'retire-version');
  const deleteModel = loadScript(redis, 'delete-model');
  const seen = new Map<string, { model: Model; readMs: number }>();

  /**
   * Adds a bundled version. A version whose files have changed starts again as pending.
   * @throws NumberTaken when the number belongs to an uploaded version with other files.
   */
  async function register({ manifest, sizeBytes }: VersionFiles): Promise<void> {
    const { name, version } = manifest;
    const key = keys.model(name);
    const sha256 = filesHash(manifest.files);
    const known = await redis.hget(key, `version:${version}`);
    const before = known ? (JSON.parse(known) as StoredVersion) : null;
    if (before?.uploaded && before.sha256 !== sha256)
      throw new NumberTaken(
        `${name} version ${version} was uploaded with other files: give the bundled one another number`,
      );
    const createdAt = before?.createdAt ?? toTimestamp(clock.now());
    const uploaded = before?.uploaded ?? false;
    const blobs = before?.blobs && { blobs: before.blobs };
    const stored: StoredVersion = { manifest, createdAt, sizeBytes, sha256, uploaded, ...blobs };
    const isDone = await registerVersion({
      modelKey: key,
      modelsKey: keys.models,
      version,
      name,
      before: known ?? '',
      stored: JSON.stringify(stored),
      description: manifest.description ?? '',
      isFresh: before?.sha256 === sha256 ? '' : '1',
    });
    seen.delete(name);
    // Another process has registered it, or it was purged, since it was read.
    if (isDone === 0) await register({ manifest, sizeBytes });
  }

  /**
   * Adds an uploaded version, never in the place of another one; returns false when its number was given before.
   * @param blobs is the folder of its blobs.
   * @throws {SluiceError} `model_deleting`.
   */
  async function add({ manifest, sizeBytes }: VersionFiles, blobs: string): Promise<boolean> {
    const { name, version, description = '' } = manifest;
    const createdAt = toTimestamp(clock.now());
    const sha256 = filesHash(manifest.files);
    const stored: StoredVersion = { manifest, createdAt, sizeBytes, sha256, uploaded: true, blobs };
    const added = await addVersion({
      modelKey: keys.model(name),
      modelsKey: keys.models,
      revisionKey: keys.modelsRevision,
      numbersKey: keys.versionNumbers,
      version,
      stored: JSON.stringify(stored),
      description,
      name,
      call: newId('req', clock.now()),
      folder: blobs,
    });
    seen.delete(name);
    if (added === 2) throw new SluiceError('model_deleting');
    return added === 1;
  }

  /** Returns a text that is another one after each upload and each retirement of a version. */
  async function revision(): Promise<string> {
    return (await redis.get(keys.modelsRevision)) ?? '';
  }

  /**
   * Stores the state of a version as a worker finds it. `ready` stands when another worker still loads it or fails to, because
   * some worker serves the version. `retired` stands too, and `failed` does when another worker lacks the backend. A version that was never computed does not take `latest` from one that
   * is ready.
   */
  async function report(
    name: string,
    version: number,
    state: VersionState,
    { waitingFor, wasComputed = true, isUnserved = false, ...detail }: ReportDetail = {},
  ): Promise<void> {
    const waiting = waitingFor ? { what: waitingFor, since: toTimestamp(clock.now()) } : null;
    await reportVersion({
      modelKey: keys.model(name),
      outboxKey: keys.outbox,
      subscribedKey: keys.subscribed,
      numbersKey: keys.versionNumbers,
      version,
      state,
      report: JSON.stringify({ ...UNREPORTED, ...detail, waitingFor: waiting }),
      name,
      proven: wasComputed ? 1 : 0,
      unserved: isUnserved ? 1 : 0,
    });
  }

  /**
   * Puts an alias on a version, with a canary and a shadow beside it. Other processes follow within `FRESH_MS`.
   * @throws {SluiceError} `model_not_found`, `version_retired`, `model_failed`, for any of these versions;
   *   `model_deleting`.
   */
  async function moveAlias(name: string, alias: string, request: AliasRequest): Promise<void> {
    const { version, shadow } = request;
    const canary = request.canary && beginCanary(request.canary, toTimestamp(clock.now()));
    const [state = '', refused = ''] = await moveAliasTo({
      modelKey: keys.model(name),
      canariesKey: keys.canaries,
      versionOutcomesKey: keys.versionOutcomes(name, version),
      canaryOutcomesKey: keys.versionOutcomes(name, canary?.version ?? version),
      agreementKey: keys.agreement(name, shadow?.version ?? version),
      alias,
      version,
      canaryVersion: canary?.version ?? '',
      canary: JSON.stringify(canary ?? null),
      canaryMember: `${name}@${alias}`,
      shadowVersion: shadow?.version ?? '',
      shadow: JSON.stringify(shadow ?? null),
    });
    seen.delete(name);
    if (state === 'missing')
      throw new SluiceError('model_not_found', `The model "${name}" has no version ${refused}.`);
    if (state === 'deleting') throw new SluiceError('model_deleting');
    if (state === 'retired') throw new SluiceError('version_retired');
    if (state === 'failed') throw new SluiceError('model_failed');
  }

  /**
   * Retires a version. Jobs that were accepted before are still computed.
   * @param keptMs is the time after which upkeep purges it (version-purge.ts); null keeps it.
   * @throws {SluiceError} `model_not_found`.
   */
  async function retire(name: string, version: number, keptMs: number | null): Promise<void> {
    const outcome = await retireVersion({
      modelKey: keys.model(name),
      purgesKey: keys.purges,
      revisionKey: keys.modelsRevision,
      version,
      member: versionKey(name, version),
      keptMs: keptMs ?? '',
    });
    seen.delete(name);
    if (outcome === 'missing')
      throw new SluiceError('model_not_found', `The model "${name}" has no version ${version}.`);
  }

  /** Begins to delete a model, of which upkeep purges each version that is needed no more; returns false without such a model. */
  async function remove(name: string): Promise<boolean> {
    const isThere = await deleteModel({
      modelKey: keys.model(name),
      purgesKey: keys.purges,
      canariesKey: keys.canaries,
      revisionKey: keys.modelsRevision,
      name,
    });
    seen.delete(name);
    return isThere === 1;
  }

  /** Returns which numbers a model's versions have and had, those of an earlier model of this name among them. */
  async function numbers(name: string): Promise<VersionNumbers> {
    const [model, highest] = await Promise.all([find(name), redis.hget(keys.versionNumbers, name)]);
    const before = Number(highest ?? 0);
    const live = model?.versions.map(({ manifest }) => manifest.version) ?? [];
    const purged = model?.purged ?? [];
    return {
      live,
      isGiven: (version) => version <= before || live.includes(version) || purged.includes(version),
      next: Math.max(before, ...live, ...purged) + 1,
    };
  }

  /** Returns a model as this process read it at most `FRESH_MS` ago; null when there is none. */
  async function find(name: string): Promise<Model | null> {
    const known = seen.get(name);
    return known && clock.monotonic() - known.readMs < FRESH_MS ? known.model : read(name);
  }

  /** Returns a model as it is now; null when there is none. */
  async function read(name: string): Promise<Model | null> {
    const fields = await redis.hgetall(keys.model(name));
    if (Object.keys(fields).length === 0) {
      seen.delete(name);
      return null;
    }
    const model = decodeModel(name, fields);
    seen.set(name, { model, readMs: clock.monotonic() });
    return model;
  }

  /** Returns all models as they are now, sorted by name. */
  async function list(): Promise<Model[]> {
    const names = await redis.smembers(keys.models);
    const models = await Promise.all(names.sort().map(read));
    return models.filter((model) => model !== null);
  }

  /**
   * Returns the version that a reference means, as this process read it at most `FRESH_MS` ago.
   * @param mayDraw lets an alias mean its canary, and gives a shadow, by their shares.
   * @param isAccepted finds the version of a model that is being deleted, too: a job of it was accepted with its batch.
   * @throws {SluiceError} `model_not_found`; `version_retired` for one that was purged.
   */
  async function resolve(text: string, { mayDraw = false, isAccepted = false } = {}): Promise<Resolved> {
    const ref = parseModelRef(text);
    const model = ref && (await find(ref.name));
    if (!model) throw new SluiceError('model_not_found', `There is no model "${ref?.name ?? text}".`);
    if (model.deleting && !isAccepted)
      throw new SluiceError('model_not_found', `The model "${model.name}" is being deleted.`);
    return resolveVersion(model, ref, mayDraw ? random : null);
  }

  return { register, add, numbers, revision, report, moveAlias, retire, remove, find, read, list, resolve };
}
