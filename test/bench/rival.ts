/**
 * The rival, which one would write instead of Sluice: Koa, BullMQ and tfjs in one process and sixty lines.
 *
 * POST /predict {"image": [784 numbers]} queues a job that holds the tensor as JSON, waits for it, and answers the ten
 * probabilities, which are the job's return value. Nothing here is made slow on purpose.
 */
import { Router } from '@koa/router';
import { setBackend, type Tensor, tensor2d, tidy } from '@tensorflow/tfjs-core';
import { Queue, QueueEvents, Worker } from 'bullmq';
import Koa from 'koa';
import getRawBody from 'raw-body';
import '@tensorflow/tfjs-backend-wasm';
import { loadModel } from '../../deploy/models/artefact.js';

const { PORT, REDIS_URL = '', MODEL_FOLDER = '', CONCURRENCY } = process.env;
const connection = { url: REDIS_URL };

await setBackend('wasm');
const model = await loadModel(MODEL_FOLDER);

function predict(image: number[]): number[] {
  return tidy(() => Array.from((model.predict(tensor2d(image, [1, 784])) as Tensor).dataSync()));
}

const queue = new Queue<number[], number[]>('predictions', {
  connection,
  // A result has to stay for a moment: the request may come to look for it after the job is done.
  defaultJobOptions: { removeOnComplete: { count: 1000 }, removeOnFail: { count: 1000 } },
});
queue.setMaxListeners(0);
const events = new QueueEvents('predictions', { connection });
const worker = new Worker<number[], number[]>('predictions', async (job) => predict(job.data), {
  connection,
  concurrency: Number(CONCURRENCY),
});
await Promise.all([queue.waitUntilReady(), events.waitUntilReady(), worker.waitUntilReady()]);

const router = new Router();
router.post('/predict', async (context) => {
  const { image } = JSON.parse(await getRawBody(context.req, { limit: '1mb', encoding: 'utf8' }));
  if (!Array.isArray(image) || image.length !== 784 || !image.every(Number.isFinite)) {
    context.throw(422, 'image must be 784 numbers');
  }
  const job = await queue.add('predict', image);
  context.body = await job.waitUntilFinished(events, 30_000);
});

const app = new Koa();
app.use(router.routes());
const server = app.listen(Number(PORT), '127.0.0.1');

process.on('SIGTERM', async () => {
  server.close();
  server.closeAllConnections();
  await Promise.all([worker.close(), queue.close(), events.close()]);
  process.exit(0);
});
