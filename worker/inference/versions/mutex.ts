/**
 * A mutex: acts run one after the other, in the order in which they came.
 */
export type Mutex = <T>(act: () => Promise<T>) => Promise<T>;

/** Returns a function that runs `act` once all earlier ones have ended, and resolves or rejects as `act` does. */
export function createMutex(): Mutex {
  let last: Promise<unknown> = Promise.resolve();
  return (act) => {
    const result = last.then(act);
    last = result.catch(() => undefined);
    return result;
  };
}
