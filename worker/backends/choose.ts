/**
 * Which backend serves: the configured one or none, or for `auto` the first that loads.
 *
 * Each is imported only when it is tried, so a process holds the code of those it asked. A backend that was configured and
 * cannot load is never replaced by another: whoever named it wants to know.
 */
import { messageOf } from '../../shared/base/errors.js';
import type { Backend, BackendName } from './backend.js';

export interface Choice {
  backend: Backend;
  /** Those before it in the order, and why each does not serve. */
  refused: { name: BackendName; reason: string }[];
}

type Opener = (cacheDir: string) => Promise<Backend>;

const OPENERS: Record<BackendName, Opener> = {
  cuda: async (cacheDir) => (await import('./tensorflow.js')).openCuda(cacheDir),
  native: async (cacheDir) => (await import('./tensorflow.js')).openNative(cacheDir),
  wasm: async () => (await import('./wasm.js')).openWasm(),
  cpu: async () => (await import('./cpu.js')).openCpu(),
};

/** In which a version first serves, until it has been measured on each (README, D2). */
const AUTO_ORDER: readonly BackendName[] = ['cuda', 'wasm', 'native', 'cpu'];

/** Rejects with what to do when no allowed backend loads. */
export async function chooseBackend(
  wanted: BackendName | 'auto',
  cacheDir: string,
  openers: Record<BackendName, Opener> = OPENERS,
): Promise<Choice> {
  const refused: Choice['refused'] = [];
  for (const name of wanted === 'auto' ? AUTO_ORDER : [wanted]) {
    try {
      return { backend: await openers[name](cacheDir), refused };
    } catch (error) {
      refused.push({ name, reason: messageOf(error) });
    }
  }
  const reasons = refused.map(({ name, reason }) => `${name}: ${reason}`).join('\n  ');
  throw new Error(
    wanted === 'auto'
      ? `No backend loads:\n  ${reasons}`
      : `SLUICE_BACKEND=${wanted} cannot serve: ${refused[0]?.reason}\nInstall what it needs or choose another backend: auto takes the first that works.`,
  );
}
