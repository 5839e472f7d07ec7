/**
 * A process that may write no large file puts a blob of one MiB and a small one, and tells what it saw.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../../shared/base/clock.js';
import { openFileBlobs } from '../../shared/blobs/filesystem.js';

const [folder = ''] = process.argv.slice(2);
const store = await openFileBlobs(folder, systemClock);
const error = await store.put('large', Buffer.alloc(1024 * 1024)).then(
  () => null,
  (error) => error,
);
const { sizeBytes: small } = await store.put('small', Buffer.of(1));
const uploads = readdirSync(join(folder, 'uploads'));
const found = await store.get('large');
process.stdout.write(
  JSON.stringify({
    code: error?.code,
    message: error?.message,
    cause: error?.cause?.code,
    uploads,
    found,
    small,
  }),
);
