/**
 * Slots: a bound on how many waits or streams a tenant holds in this process at a time.
 */
import { type ErrorCode, SluiceError } from '../../shared/contract/errors.js';

export interface Slots {
  /**
   * Takes a slot and returns the function that gives it back, which counts only the first time.
   *
   * @throws {SluiceError} with the code of these slots, when the tenant holds its share
   */
  take(tenant: string): () => void;
  readonly taken: number;
}

/** Returns slots for every tenant; the error `code` refuses one too many. */
export function createSlots(maxPerTenant: number, code: ErrorCode): Slots {
  const byTenant = new Map<string, number>();

  function giveBack(tenant: string): void {
    const left = (byTenant.get(tenant) ?? 1) - 1;
    if (left === 0) byTenant.delete(tenant);
    else byTenant.set(tenant, left);
  }

  return {
    take(tenant) {
      const count = byTenant.get(tenant) ?? 0;
      if (count >= maxPerTenant) throw new SluiceError(code, undefined, { retryAfterSeconds: 1 });
      byTenant.set(tenant, count + 1);
      let held = true;
      return () => {
        if (held) giveBack(tenant);
        held = false;
      };
    },
    get taken() {
      return [...byTenant.values()].reduce((sum, count) => sum + count, 0);
    },
  };
}
