/**
 * Resolves a reference: a number means that version, an alias means the version that it was put on, or now and then its canary.
 */
import { SluiceError } from '../../contract/errors.js';
import type { ModelRef } from '../../contract/models/model-ref.js';
import { fitFault } from '../../contract/models/signature-fit.js';
import { purgedVersion } from './closed-version.js';
import type { Model, Version } from './model-record.js';

export interface Resolved {
  version: Version;
  /** The alias of the reference; null for a version number. */
  alias: string | null;
  /** The version that is given a copy of the job, where the draw says so. */
  shadow: Version | null;
}

/**
 * Returns the version that `ref` means in `model`.
 * @param random draws from 0 to below 1 whose turn it is; null leaves canaries and shadows out.
 * @throws {SluiceError} `model_not_found`; `version_retired` for one that was purged.
 */
export function resolveVersion(model: Model, ref: ModelRef, random: (() => number) | null): Resolved {
  const alias = ref.alias ?? null;
  const version = versionOf(model, alias === null ? ref.version : model.aliases[alias]);
  if (!version) {
    demandUnpurged(model, ref);
    const missing = alias === null ? `version ${ref.version}` : `alias "${alias}"`;
    throw new SluiceError('model_not_found', `The model "${model.name}" has no ${missing}.`);
  }
  if (!random || alias === null) return { version, alias, shadow: null };
  const canary = model.canaries[alias];
  const drawn = canary?.state === 'running' ? draw(model, version, canary, random) : null;
  const shadow = draw(model, drawn ?? version, model.shadows[alias], random);
  return { version: drawn ?? version, alias, shadow };
}

/**
 * Throws where a reference means a version that was purged, because its caller had it, or its alias still points there.
 * @throws {SluiceError} `version_retired`.
 */
export function demandUnpurged(
  { name, aliases, purged }: Model,
  { version, alias }: Partial<ModelRef>,
): void {
  const number = version ?? aliases[alias ?? 'latest'];
  if (number === undefined || !purged.includes(number)) return;
  throw purgedVersion(name, number);
}

/**
 * Only a version that is ready is drawn, because jobs for any other would wait for it. One that no longer takes the same jobs,
 * as a bundled version that was changed, gets none.
 */
function draw(
  model: Model,
  stable: Version,
  share: { version: number; percent: number } | undefined,
  random: () => number,
): Version | null {
  if (!share || random() * 100 >= share.percent) return null;
  const version = versionOf(model, share.version);
  if (version?.state !== 'ready' || fitFault(stable.manifest, version.manifest) !== null) return null;
  return version;
}

function versionOf(model: Model, number: number | undefined): Version | undefined {
  return model.versions.find(({ manifest }) => manifest.version === number);
}
