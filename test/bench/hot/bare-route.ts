/**
 * The bare route: what HTTP itself costs. Koa reads the body of a job, parses it, and answers a finished job.
 *
 * ANSWER is the text of a finished job. It is written as JSON for each request, as a server does that makes its answer.
 */
import { Router } from '@koa/router';
import Koa from 'koa';
import getRawBody from 'raw-body';

const { PORT, ANSWER = '' } = process.env;
const answer = JSON.parse(ANSWER);

const router = new Router();
router.post('/', async (context) => {
  const { instances } = JSON.parse(await getRawBody(context.req, { limit: '1mb', encoding: 'utf8' }));
  if (!Array.isArray(instances)) context.throw(422, 'instances must be an array');
  context.body = answer;
});

const server = new Koa().use(router.routes()).listen(Number(PORT), '127.0.0.1');

process.on('SIGTERM', () => {
  server.close();
  server.closeAllConnections();
});
