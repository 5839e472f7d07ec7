/**
 * Goals: what a figure is asked to be at least or at most, and whether it is.
 */

export type Goal = { least: number } | { most: number };

/** A promise with what came of it; the figures are NaN when it was not measured. */
export interface Judged {
  id: string;
  title: string;
  goal: Goal;
  median: number;
  low: number;
  high: number;
  met: boolean;
}

/** Returns whether a figure reaches its goal. One that could not be measured, which is NaN, does not. */
export function isMet(goal: Goal, figure: number): boolean {
  return 'least' in goal ? figure >= goal.least : figure <= goal.most;
}

/** Returns a goal for people, such as "≥ 1.6". */
export function goalText(goal: Goal): string {
  return 'least' in goal ? `≥ ${goal.least}` : `≤ ${goal.most}`;
}

/** Returns the verdict on a figure for people; a dash for one that was not measured. */
export function verdictOn(goal: Goal, figure: number): string {
  if (Number.isNaN(figure)) return '–';
  return isMet(goal, figure) ? 'met' : 'missed';
}
