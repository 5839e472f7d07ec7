/** Which version may stand in for another as a canary or a shadow. */
import { expect, it } from 'vitest';
import type { Manifest, Signature } from '../../shared/contract/models/manifest.js';
import { fitFault } from '../../shared/contract/models/signature-fit.js';

type Specs = Signature['inputs'];
const x: Specs[number] = { name: 'x', dtype: 'float32', shape: [4], accepts: [[2, 2]] };
const y: Specs[number] = { name: 'y', dtype: 'float32', shape: [2] };
const version = (inputs: Specs, outputs: Specs = [y], more: Partial<Manifest> = {}) =>
  ({ signature: { inputs, outputs }, ...more }) as Manifest;
const mask: Specs[number] = { name: 'mask', dtype: 'float32', shape: [null], maskOf: 'x' };

it.each<[string, Manifest, Manifest, string | null]>([
  ['the same signature', version([x]), version([x]), null],
  ['a mask, which callers do not send', version([x]), version([x, mask]), null],
  ['any size', version([x]), version([{ ...x, shape: [null] }]), null],
  ['another name in', version([x]), version([{ ...x, name: 'inputs' }]), 'needs the input inputs, which no'],
  ['one input more', version([x]), version([x, { ...x, name: 'z' }]), 'needs the input z'],
  ['one input less', version([x, { ...x, name: 'z' }]), version([x]), 'has no input z'],
  ['another size', version([x]), version([{ ...x, shape: [5] }]), 'takes x float32 [5], where jobs have x'],
  ['a narrower size', version([{ ...x, shape: [null] }]), version([x]), 'takes x float32 [4], where'],
  ['another type', version([x]), version([{ ...x, dtype: 'int32' }]), 'takes x int32 [4], where jobs'],
  ['a nesting less', version([x]), version([{ ...x, accepts: [] }]), 'takes x'],
  ['another name out', version([x]), version([x], [{ ...y, name: 'output_0' }]), 'has no output y'],
  [
    'labels for scores',
    version([x]),
    version([x], [{ ...y, postprocess: { topK: 1 } }]),
    'gives y float32 [2]',
  ],
  ['chance', version([x]), version([x], [y], { stateful: 'allow' }), 'draws random numbers'],
  [
    'chance in both',
    version([x], [y], { stateful: 'allow' }),
    version([x], [y], { stateful: 'allow' }),
    null,
  ],
  ['one output more', version([x]), version([x], [y, { ...y, name: 'z' }]), 'has more outputs'],
  [
    'a signature less',
    version([x], [y], { signatureName: 'a', signatures: { b: { inputs: [x], outputs: [y] } } }),
    version([x], [y], { signatureName: 'a' }),
    'has no signature b',
  ],
])('is refused or not: %s', (_, stable, other, fault) => {
  if (fault === null) expect(fitFault(stable, other)).toBeNull();
  else expect(fitFault(stable, other)).toContain(fault);
});
