/**
 * Models: which versions exist, which state they are in, and which version a name means.
 *
 *   pending -> loading -> ready | failed        any -> retired, for as long as its files do not change
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
import { parseModelRef } from '../../contract/models/model-ref.js';
import type { VersionState } from '../../contract/models/version-state.js';
import { defineScript, type Redis } from '../../redis/connect.js';
import type { Keys } from '../../redis/keys.js';
import { TIME } from '../jobs/script-parts.js';
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

/** For so long a process may use what it last read of a model. */
const FRESH_MS = 1000;

/**
 * `told` is what was last told of a version: each worker that starts loads it anew, which is no news unless it ends otherwise.
 *
 * KEYS model, outbox, subscribed
 * ARGV 1 version, 2 state, 3 report, 4 name
 */
const REPORT_VERSION = `${TIME}
local before = redis.call('HGET', KEYS[1], 'state:' .. ARGV[1])
if before == 'retired' or before == 'ready' and ARGV[2] ~= 'ready' then return end
redis.call('HSET', KEYS[1], 'state:' .. ARGV[1], ARGV[2], 'report:' .. ARGV[1], ARGV[3])
local latest = tonumber(redis.call('HGET', KEYS[1], 'alias:latest') or '0')
if ARGV[2] == 'ready' and before ~= 'ready' and tonumber(ARGV[1]) > latest then
  redis.call('HSET', KEYS[1], 'alias:latest', ARGV[1])
end
local told = redis.call('HGET', KEYS[1], 'told:' .. ARGV[1]) or before
if (ARGV[2] ~= 'ready' and ARGV[2] ~= 'failed') or told == ARGV[2] then return end
redis.call('HSET', KEYS[1], 'told:' .. ARGV[1], ARGV[2])
if redis.call('HLEN', KEYS[3]) > 0 then
  local now = time()
  local subject = ARGV[4] .. '@' .. ARGV[1]
  local type = 'model.version.' .. ARGV[2]
  redis.call('XADD', KEYS[2], '*', 'id', 'evt_' .. subject .. '-' .. now, 'type', type, 'version', subject, 'at', now)
end
`;

/**
 * KEYS model, models, revision
 * ARGV 1 version, 2 the version as it is stored, 3 description, 4 name, 5 id of the call
 * Reply 1, also to a call that made it and did not hear so; 0 when the number is taken
 */
const ADD_VERSION = `
if redis.call('HSETNX', KEYS[1], 'version:' .. ARGV[1], ARGV[2]) == 0 then
  return redis.call('HGET', KEYS[1], 'maker:' .. ARGV[1]) == ARGV[5] and 1 or 0
end
redis.call('HSET', KEYS[1], 'state:' .. ARGV[1], 'pending', 'maker:' .. ARGV[1], ARGV[5])
if ARGV[3] ~= '' then redis.call('HSET', KEYS[1], 'description', ARGV[3]) end
redis.call('HSETNX', KEYS[1], 'alias:latest', ARGV[1])
redis.call('SADD', KEYS[2], ARGV[4])
redis.call('INCR', KEYS[3])
return 1
`;

/**
 * KEYS model, canaries, outcomes of the version, of the canary's version, agreement of the shadow
 * ARGV 1 alias, 2 version, 3 version of the canary ("" = none), 4 the canary, 5 member of canaries, 6 version of the
 *      shadow ("" = none), 7 the shadow
 * Reply {""} when it is done, {state, version} when that version's state forbids the move, {missing, version} without it
 */
const MOVE_ALIAS = `
for _, version in ipairs({ARGV[2], ARGV[3], ARGV[6]}) do
  if version ~= '' then
    if redis.call('HEXISTS', KEYS[1], 'version:' .. version) == 0 then return {'missing', version} end
    local state = redis.call('HGET', KEYS[1], 'state:' .. version)
    if state == 'failed' or state == 'retired' then return {state, version} end
  end
end
redis.call('HSET', KEYS[1], 'alias:' .. ARGV[1], ARGV[2])
if ARGV[3] == '' then
  redis.call('HDEL', KEYS[1], 'canary:' .. ARGV[1])
  redis.call('SREM', KEYS[2], ARGV[5])
else
  redis.call('HSET', KEYS[1], 'canary:' .. ARGV[1], ARGV[4])
  redis.call('SADD', KEYS[2], ARGV[5])
  redis.call('DEL', KEYS[3], KEYS[4])
end
if ARGV[6] == '' then
  redis.call('HDEL', KEYS[1], 'shadow:' .. ARGV[1])
else
  redis.call('HSET', KEYS[1], 'shadow:' .. ARGV[1], ARGV[7])
  redis.call('DEL', KEYS[5])
end
return {''}
`;

export interface ModelsDeps {
  redis: Redis;
  keys: Keys;
  clock: Clock;
  /** Returns a number from 0 to below 1, by which canaries and shadows are drawn. */
  random?: () => number;
}

/** Returns the registry of models. */
export function createModels({ redis, keys, clock, random = Math.random }: ModelsDeps) {
  const reportScript = defineScript<null>(redis, REPORT_VERSION);
  const addScript = defineScript<number>(redis, ADD_VERSION);
  const moveScript = defineScript<string[]>(redis, MOVE_ALIAS);
  const seen = new Map<string, { model: Model; readMs: number }>();

  /**
   * Adds a bundled version. A version whose files have changed starts again as pending.
   * @throws Error when the number belongs to an uploaded version with other files.
   */
  async function register({ manifest, sizeBytes }: VersionFiles): Promise<void> {
    const { name, version } = manifest;
    const key = keys.model(name);
    const sha256 = filesHash(manifest.files);
    const known = await redis.hget(key, `version:${version}`);
    const before = known ? (JSON.parse(known) as StoredVersion) : null;
    if (before?.uploaded && before.sha256 !== sha256)
      throw new Error(
        `${name} version ${version} was uploaded with other files: give the bundled one another number`,
      );
    const createdAt = before?.createdAt ?? toTimestamp(clock.now());
    const uploaded = before?.uploaded ?? false;
    const stored: StoredVersion = { manifest, createdAt, sizeBytes, sha256, uploaded };
    await redis.hset(key, {
      [`version:${version}`]: JSON.stringify(stored),
      description: manifest.description ?? '',
    });
    if (before?.sha256 !== sha256) {
      await redis.hset(key, { [`state:${version}`]: 'pending' });
      await redis.hdel(key, `told:${version}`);
    }
    await redis.hsetnx(key, 'alias:latest', version);
    await redis.sadd(keys.models, name);
  }

  /** Adds an uploaded version, never in the place of another one; returns false when its number is taken. */
  async function add({ manifest, sizeBytes }: VersionFiles): Promise<boolean> {
    const { name, version, description = '' } = manifest;
    const createdAt = toTimestamp(clock.now());
    const sha256 = filesHash(manifest.files);
    const stored: StoredVersion = { manifest, createdAt, sizeBytes, sha256, uploaded: true };
    const keysOfIt = [keys.model(name), keys.models, keys.modelsRevision];
    const call = newId('req', clock.now());
    const added = await addScript(keysOfIt, [version, JSON.stringify(stored), description, name, call]);
    seen.delete(name);
    return added === 1;
  }

  /** Returns a text that is another one after each upload and each retirement of a version. */
  async function revision(): Promise<string> {
    return (await redis.get(keys.modelsRevision)) ?? '';
  }

  /**
   * Stores the state of a version as a worker finds it. `ready` stands when another worker still loads it or fails to, because
   * some worker serves the version. `retired` stands too.
   */
  async function report(
    name: string,
    version: number,
    state: VersionState,
    detail: Partial<VersionReport> = {},
  ): Promise<void> {
    const report = JSON.stringify({ ...UNREPORTED, ...detail });
    await reportScript([keys.model(name), keys.outbox, keys.subscribed], [version, state, report, name]);
  }

  /**
   * Puts an alias on a version, with a canary and a shadow beside it. Other processes follow within `FRESH_MS`.
   * @throws {SluiceError} `model_not_found`, `version_retired`, `model_failed`, for any of these versions.
   */
  async function moveAlias(name: string, alias: string, request: AliasRequest): Promise<void> {
    const { version, shadow } = request;
    const canary = request.canary && beginCanary(request.canary, toTimestamp(clock.now()));
    const [state = '', refused = ''] = await moveScript(
      [
        keys.model(name),
        keys.canaries,
        keys.versionOutcomes(name, version),
        keys.versionOutcomes(name, canary?.version ?? version),
        keys.agreement(name, shadow?.version ?? version),
      ],
      [
        alias,
        version,
        canary?.version ?? '',
        JSON.stringify(canary ?? null),
        `${name}@${alias}`,
        shadow?.version ?? '',
        JSON.stringify(shadow ?? null),
      ],
    );
    seen.delete(name);
    if (state === 'missing')
      throw new SluiceError('model_not_found', `The model "${name}" has no version ${refused}.`);
    if (state === 'retired') throw new SluiceError('version_retired');
    if (state === 'failed') throw new SluiceError('model_failed');
  }

  /** Retires a version, which must exist. Jobs that were accepted before are still computed. */
  async function retire(name: string, version: number): Promise<void> {
    await redis.hset(keys.model(name), { [`state:${version}`]: 'retired' });
    await redis.incr(keys.modelsRevision);
    seen.delete(name);
  }

  /** Returns a model as this process read it at most `FRESH_MS` ago; null when there is none. */
  async function find(name: string): Promise<Model | null> {
    const known = seen.get(name);
    return known && clock.monotonic() - known.readMs < FRESH_MS ? known.model : read(name);
  }

  /** Returns a model as it is now; null when there is none. */
  async function read(name: string): Promise<Model | null> {
    const fields = await redis.hgetall(keys.model(name));
    if (Object.keys(fields).length === 0) return null;
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
   * @throws {SluiceError} `model_not_found`.
   */
  async function resolve(text: string, { mayDraw = false } = {}): Promise<Resolved> {
    const ref = parseModelRef(text);
    const model = ref && (await find(ref.name));
    if (!model) throw new SluiceError('model_not_found', `There is no model "${ref?.name ?? text}".`);
    return resolveVersion(model, ref, mayDraw ? random : null);
  }

  return { register, add, revision, report, moveAlias, retire, find, read, list, resolve };
}
