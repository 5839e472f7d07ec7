/**
 * A canary: a version that gets a share of an alias' jobs, and loses it when it does worse than the version that has the rest.
 *
 *   running -> rolled_back        another move of the alias ends it, too
 *
 * Both versions are judged by the jobs that ended since the canary began (canary-test.ts).
 */
import type { JsonSchema, TypeOf } from '../schema.js';
import { VERSION_NUMBER } from './model-ref.js';

export const canarySchema = {
  type: 'object',
  additionalProperties: false,
  required: ['version', 'percent'],
  properties: {
    version: VERSION_NUMBER,
    percent: { type: 'number', exclusiveMinimum: 0, maximum: 100, description: "Share of the alias' jobs." },
    minJobs: {
      type: 'integer',
      minimum: 1,
      description: 'Ended jobs of a version before it is judged, or judged by; 50.',
    },
    maxErrorPercent: {
      type: 'number',
      minimum: 0,
      maximum: 100,
      description: 'Percentage points by which more of its jobs may fail; 5.',
    },
    maxSlowdown: {
      type: 'number',
      minimum: 1,
      description:
        'Factor by which the 95th percentile of the time that its jobs compute may be longer than in batches of such a size of the other version; 2.',
    },
  },
} as const satisfies JsonSchema;

export type CanaryRequest = TypeOf<typeof canarySchema>;

export interface Canary {
  version: number;
  percent: number;
  minJobs: number;
  maxErrorPercent: number;
  maxSlowdown: number;
  state: 'running' | 'rolled_back';
  startedAt: string;
  /** Why and when it was rolled back. */
  reason: string | null;
  endedAt: string | null;
}

/** Returns a canary that begins now; limits that the request leaves out have their defaults. */
export function beginCanary({ version, percent, ...limits }: CanaryRequest, startedAt: string): Canary {
  const { minJobs = 50, maxErrorPercent = 5, maxSlowdown = 2 } = limits;
  const running = { state: 'running', startedAt, reason: null, endedAt: null } as const;
  return { version, percent, minJobs, maxErrorPercent, maxSlowdown, ...running };
}
