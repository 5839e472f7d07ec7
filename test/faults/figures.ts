/**
 * Figures that faults.md asks for, beside what was measured: printed, so that a run can be compared with another.
 */
export function figure(fault: string, what: string, measured: number | string, asked: string): void {
  const value = typeof measured === 'number' ? String(Math.round(measured * 100) / 100) : measured;
  process.stdout.write(`${fault.padEnd(4)} ${what}: ${value} (asked: ${asked})\n`);
}
