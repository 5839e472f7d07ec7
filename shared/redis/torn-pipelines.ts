/**
 * Sends again what a broken connection left unanswered of a pipeline that was answered in part.
 *
 * ioredis sends a pipeline again if none of it was answered, and otherwise has the rest fail, as if the commands belonged
 * together. Ours only share a turn of the event loop. A MULTI does belong together, and still fails.
 */
import type { Redis } from 'ioredis';

interface Item {
  command: { name: string; pipelineIndex?: number | undefined; inTransaction?: boolean };
  /** The buffer that writes the pipeline once all its commands are in it. */
  stream?: unknown;
}

/** Has the connection send the rest of a torn pipeline command by command when it is back. */
export function mendTornPipelines(redis: Redis): void {
  // ioredis listens from before, and must find its queue mended.
  redis.on('connect', () => redis.stream.prependOnceListener('close', () => mend(redis)));
}

function mend(redis: Redis): void {
  let expected = 0;
  for (let i = 0; i < redis.commandQueue.length; i++) {
    const item = redis.commandQueue.peekAt(i) as Item;
    const { pipelineIndex, inTransaction, name } = item.command;
    if (pipelineIndex === undefined || pipelineIndex === 0) expected = 0;
    if (pipelineIndex === undefined || pipelineIndex === expected++) continue;
    if (inTransaction || name === 'exec') continue;
    item.command.pipelineIndex = undefined;
    item.stream = undefined;
  }
}
