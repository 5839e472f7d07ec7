/**
 * Values of options: what is wrong is told at once, with what is taken.
 */
import { list } from '../../shared/base/config.js';
import { messageOf } from '../../shared/base/errors.js';
import { tell } from './site.js';

/** @throws Error for what is no number above 0 */
export function toNumber(option: string, text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new Error(`--${option} must be a number above 0, not "${text}"`);
  return value;
}

/** @throws Error where one of the comma-separated texts is no number above 0 */
export function toNumbers(option: string, text: string): number[] {
  return list(text).map((each) => toNumber(option, each));
}

/** Returns what `parse` makes of the command line, or ends the process with the reason: a wrong option needs no stack. */
export function optionsOrExit<Options>(parse: (args: string[]) => Options): Options {
  try {
    return parse(process.argv.slice(2));
  } catch (error) {
    tell(messageOf(error));
    process.exit(1);
  }
}
