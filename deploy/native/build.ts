/**
 * Builds tfjs-node-gpu's binding: two C++ files over TensorFlow's C API and Node's N-API, one call of g++.
 *
 * The package's own build (node-pre-gyp, node-gyp, make) is not used. It writes into node_modules, may fetch Node's
 * headers, and brings more parts that can break than the two files that it compiles.
 */
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { homeAt } from '../../shared/native/tensorflow-library.js';
import { runCommand } from '../run-command.js';
import { mendedSource } from './mended-source.js';
import { nodeHeaders } from './tools.js';

/** The source that is mended, and the one that is compiled as it is. */
const [MENDED, OTHER] = ['tfjs_backend.cc', 'tfjs_binding.cc'] as const;
/** The newest N-API that tfjs-node-gpu's package.json names; Node 20 and later have it. */
const N_API = 8;

/**
 * Builds the binding into the install whose folder is `root`, in the place of one that is there; rejects with the compiler's last
 * lines.
 */
export async function buildBinding(root: string, signal: AbortSignal): Promise<void> {
  const home = homeAt(root);
  const about = createRequire(import.meta.url).resolve('@tensorflow/tfjs-node-gpu/package.json');
  const sources = join(dirname(about), 'binding');
  const headers = nodeHeaders();
  if (headers === null) throw new Error("Node's headers (node_api.h) are gone.");
  const draft = mkdtempSync(join(home.libraries, '.binding-'));
  try {
    const [mended, built] = [join(draft, MENDED), join(draft, basename(home.binding))];
    writeFileSync(mended, mendedSource(readFileSync(join(sources, MENDED), 'utf8')));
    await runCommand(
      'g++',
      ['-shared', '-fPIC', '-std=c++17', '-O2', `-DNAPI_VERSION=${N_API}`]
        .concat(['-I', home.include, '-I', headers, '-I', sources])
        .concat([mended, join(sources, OTHER)])
        .concat(['-L', home.libraries, '-l:libtensorflow_cc.so.2', '-l:libtensorflow_framework.so.2'])
        // The binding finds the libraries beside itself, wherever the cache is moved to.
        .concat(['-Wl,-rpath,$ORIGIN', '-o', built]),
      // A compiler's first error may stand some lines above the last.
      { signal, errorLines: 25 },
    );
    renameSync(built, home.binding);
  } finally {
    rmSync(draft, { recursive: true, force: true });
  }
}
