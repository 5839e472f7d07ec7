/**
 * A process to be killed during a put: it writes one MiB, says so, and never ends the stream.
 */
import { systemClock } from '../../shared/base/clock.js';
import { openBlobs } from '../../shared/blobs/open.js';

async function* endless(): AsyncGenerator<Buffer> {
  yield Buffer.alloc(1024 * 1024, 1);
  process.send?.('half');
  await new Promise(() => {});
}

const [config = '', key = ''] = process.argv.slice(2);
const store = await openBlobs(JSON.parse(config), systemClock);
process.on('disconnect', () => process.exit(1));
await store.put(key, endless());
