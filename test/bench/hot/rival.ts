/**
 * The rival, which one would write instead of Sluice: Koa, BullMQ and tfjs in one process and eighty lines.
 *
 * POST /predict {"image": [784 numbers]} queues a job that holds the tensor as JSON, waits for it, and answers the ten
 * probabilities, which are the job's return value. POST /jobs answers 202 {"id"} at once, and GET /jobs/:id tells the state
 * {"state": "pending" | "completed" | "failed"} with the result. Nothing here is made slow on purpose.
 */
import { Router } from '@koa/router';
import { setBackend, type Tensor, tensor2d, tidy } from '@tensorflow/tfjs-core';
import { Queue, QueueEvents, Worker } from 'bullmq';
import { Redis } from 'ioredis';
import Koa from 'koa';
import getRawBody from 'raw-body';
import '@tensorflow/tfjs-backend-wasm';
import { loadModel } from '../../../deploy/models/artefact.js';

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
/** Reads states, which BullMQ's own connection does not give away. */
const redis = new Redis(REDIS_URL);
const worker = new Worker<number[], number[]>('predictions', async (job) => predict(job.data), {
  connection,
  concurrency: Number(CONCURRENCY),
});
await Promise.all([queue.waitUntilReady(), worker.waitUntilReady()]);

/** Only requests that wait need events, so callers who poll do not pay for them. */
let events: Promise<QueueEvents> | undefined;
async function openEvents(): Promise<QueueEvents> {
  const opened = new QueueEvents('predictions', { connection });
  await opened.waitUntilReady();
  return opened;
}

async function add(context: Koa.Context) {
  const { image } = JSON.parse(await getRawBody(context.req, { limit: '1mb', encoding: 'utf8' }));
  if (!Array.isArray(image) || image.length !== 784 || !image.every(Number.isFinite)) {
    context.throw(422, 'image must be 784 numbers');
  }
  return queue.add('predict', image);
}

const router = new Router();
router.post('/predict', async (context) => {
  events ??= openEvents();
  const listening = await events;
  const job = await add(context);
  context.body = await job.waitUntilFinished(listening, 30_000);
});
router.post('/jobs', async (context) => {
  const { id } = await add(context);
  context.status = 202;
  context.body = { id };
});
router.get('/jobs/:id', async (context) => {
  // One read of the fields that are needed: `Job.fromId` would fetch and parse the input, too.
  const key = queue.toKey(context.params.id ?? '');
  const [timestamp, result, reason] = await redis.hmget(key, 'timestamp', 'returnvalue', 'failedReason');
  if (!timestamp) context.throw(404, 'no such job');
  if (result) context.body = { state: 'completed', result: JSON.parse(result) };
  else context.body = reason ? { state: 'failed', reason } : { state: 'pending' };
});

const app = new Koa();
app.use(router.routes());
const server = app.listen(Number(PORT), '127.0.0.1');

process.on('SIGTERM', async () => {
  server.close();
  server.closeAllConnections();
  await Promise.all([worker.close(), queue.close(), events?.then((opened) => opened.close())]);
  process.exit(0);
});
