/** `npm run train:mnist -- [--epochs N] [--samples N] [--out DIR]`: trains the bundled model and writes its artefact. */
import { parseArgs } from 'node:util';
import { makeMnist } from './make.js';

const { values } = parseArgs({
  options: {
    epochs: { type: 'string', default: '5' },
    samples: { type: 'string', default: '60000' },
    out: { type: 'string', default: 'deploy/models/mnist' },
  },
});

await makeMnist(
  {
    epochs: toCount('epochs', values.epochs, 1000),
    samples: toCount('samples', values.samples, 60_000),
    out: values.out,
  },
  console.log,
);

function toCount(option: string, text: string, most: number): number {
  const count = Number(text);
  if (!Number.isInteger(count) || count < 1 || count > most) {
    throw new Error(`--${option} must be a whole number from 1 to ${most}, not "${text}"`);
  }
  return count;
}
