/**
 * Choosing the backend that serves: the configured one or none, and for `auto` the first that loads.
 *
 * A backend is imported only when it is tried, so a process holds the code of few. A configured backend that cannot load is
 * never replaced by another, because an operator who named one wants to know that it does not serve.
 */
import { messageOf } from '../../shared/base/errors.js';
import type { Backend, BackendName } from './backend.js';

export interface ChosenBackend {
  backend: Backend;
  /** The backends that were tried before, and why each does not serve. */
  refused: { name: BackendName; reason: string }[];
}

type Opener = (librariesDir: string) => Promise<Backend>;

const OPENERS: Record<BackendName, Opener> = {
  cuda: async (librariesDir) => (await import('./tensorflow.js')).openCuda(librariesDir),
  native: async (librariesDir) => (await import('./tensorflow.js')).openNative(librariesDir),
  wasm: async () => (await import('./wasm.js')).openWasm(),
  cpu: async () => (await import('./cpu.js')).openCpu(),
  onnx: async (librariesDir) => (await import('./onnx.js')).openOnnx(librariesDir),
};

/**
 * The order for a version that has not been measured on each backend yet (decisions.md, BCK-2). An ONNX file runs on one
 * backend, which is opened for the first of them.
 */
const AUTO_ORDER: readonly BackendName[] = ['cuda', 'wasm', 'native', 'cpu'];

/** Resolves to the backend that serves; rejects, with a remedy, when no allowed one loads. */
export async function chooseBackend(
  wanted: BackendName | 'auto',
  librariesDir: string,
  openers: Record<BackendName, Opener> = OPENERS,
): Promise<ChosenBackend> {
  const refused: ChosenBackend['refused'] = [];
  for (const name of wanted === 'auto' ? AUTO_ORDER : [wanted]) {
    try {
      return { backend: await openers[name](librariesDir), refused };
    } catch (error) {
      refused.push({ name, reason: messageOf(error) });
    }
  }
  const reasons = refused.map(({ name, reason }) => `${name}: ${reason}`).join('\n  ');
  throw new Error(
    wanted === 'auto' ? `No backend loads:\n  ${reasons}` : `${wanted} cannot serve: ${refused[0]?.reason}`,
  );
}
