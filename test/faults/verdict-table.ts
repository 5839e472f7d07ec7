/**
 * Verdicts as people read them.
 */
import type { Verdict } from './checker.js';

/** Violators named for each invariant. */
const NAMED = 10;

export function tableOf(verdicts: readonly Verdict[]): string {
  return verdicts.map(linesOf).join('\n');
}

export function violationsIn(verdicts: readonly Verdict[]): string[] {
  return verdicts.flatMap(({ invariant, violations }) =>
    violations.map(({ id, what }) => `${invariant} ${id}: ${what}`),
  );
}

function linesOf({ invariant, promise, counts, violations }: Verdict): string {
  const facts = Object.entries(counts).map(([name, count]) => `${count} ${name}`);
  const judged = violations.length === 0 ? 'holds ' : 'BROKEN';
  const named = violations.slice(0, NAMED).map(({ id, what }) => `\n     ${id}: ${what}`);
  const rest = violations.length > NAMED ? `\n     and ${violations.length - NAMED} more` : '';
  return `${invariant}  ${judged}  ${promise.padEnd(34)} ${facts.join(', ')}${named.join('')}${rest}`;
}
