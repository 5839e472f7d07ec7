/**
 * The selection of a job: which signature of its version computes, and which outputs of that are given.
 */
import { type Fault, invalid } from '../../../contract/errors.js';
import type { JobSpec, Submit } from '../../../contract/job.js';
import { type Manifest, signatureNames, withSignature } from '../../../contract/models/manifest.js';

/**
 * Returns the version as the job's signature has it.
 * @throws {SluiceError} `invalid_input` with those that there are, for a signature or an output that the version lacks.
 */
export function selectSignature(manifest: Manifest, { signatureName, outputs = [] }: Submit): Manifest {
  const own = withSignature(manifest, signatureName);
  if (!own)
    throw invalid([
      {
        path: '/signatureName',
        message: `is no signature of this version; there are: ${signatureNames(manifest).join(', ')}`,
      },
    ]);
  const names = own.signature.outputs.map(({ name }) => name);
  const faults: Fault[] = [...outputs.entries()]
    .filter(([, name]) => !names.includes(name))
    .map(([index]) => ({
      path: `/outputs/${index}`,
      message: `is no output of this version; there are: ${names.join(', ')}`,
    }));
  if (faults.length > 0) throw invalid(faults);
  return own;
}

/** Returns what the record holds of it; nothing where the job asks for nothing. */
export function selectionOf({ signatureName, outputs }: Submit): Pick<JobSpec, 'select'> {
  if (signatureName === undefined && outputs === undefined) return {};
  return { select: { ...(signatureName !== undefined && { signatureName }), ...(outputs && { outputs }) } };
}
