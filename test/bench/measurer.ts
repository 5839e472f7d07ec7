/**
 * A process of its own that carries out one order at a time and answers it: so that what it costs to make load, or to
 * run a bare part, is not mixed with what it costs to look on.
 */
import { fork } from 'node:child_process';

/** A forked process, asked by orders; it ends when its channel to this process closes. */
export interface Measurer<Order, Result> {
  readonly pid: number;
  /** Rejects when the order fails or the process ends. One order at a time. */
  ask(order: Order): Promise<Result>;
  close(): Promise<void>;
}

type Answer<Result> = { result: Result } | { fault: string };

/** Forks `file` on a Node program, by default that of this process. */
export function openMeasurer<Order extends object, Result>(
  file: URL,
  node = process.execPath,
): Measurer<Order, Result> {
  const child = fork(file, { serialization: 'advanced', execPath: node });
  let settle: ((answer: Answer<Result>) => void) | undefined;
  const answer = (message: Answer<Result>) => {
    settle?.(message);
    settle = undefined;
  };
  child.on('message', (message) => answer(message as Answer<Result>));
  child.on('error', (error) => answer({ fault: error.message }));
  const exited = new Promise<void>((resolve) => {
    child.once('exit', (code, signal) => {
      answer({ fault: `${file.pathname} ended with ${signal ?? code}` });
      resolve();
    });
  });
  return {
    pid: child.pid ?? 0,
    ask: (order) =>
      new Promise((resolve, reject) => {
        settle = (message) =>
          'fault' in message ? reject(new Error(message.fault)) : resolve(message.result);
        if (child.connected) child.send(order);
        else answer({ fault: `${file.pathname} is not running` });
      }),
    async close() {
      child.kill('SIGKILL');
      await exited;
    },
  };
}

/** The other side: called once in the forked process, with what carries out an order. */
export function answerOrders<Order, Result>(carryOut: (order: Order) => Promise<Result>): void {
  // Ctrl-C reaches this process too; the one that asks decides when to end.
  process.on('SIGINT', () => undefined);
  process.on('disconnect', () => process.exit(0));
  process.on('message', (order: unknown) => {
    carryOut(order as Order).then(
      (result) => process.send?.({ result }),
      (error: Error) => process.send?.({ fault: error.stack ?? error.message }),
    );
  });
}
