/** The terminal that a command of `sluice` speaks to, and the ways in which a command ends. */
import { EXIT_CONFIG } from '../../shared/base/config.js';

/** Exit codes, with the meanings of sysexits(3). */
export const EXIT = { usage: 64, unavailable: 69, noPermission: 77, config: EXIT_CONFIG } as const;

export interface Terminal {
  /** Writes a line of the command's result, to be read or piped on. */
  print(line: string): void;
  /** Writes a line that only a person should read. */
  tell(line: string): void;
  /** Aborts at Ctrl-C and its like, and when nobody reads the results any more. */
  stopped: AbortSignal;
}

/** A fault that the user of a command can mend. It ends the command with its sentence and its exit code. */
export class Failure extends Error {
  override readonly name = 'Failure';

  constructor(
    readonly exitCode: number,
    message: string,
    /** The code of the API's error, null when the API did not answer with one. */
    readonly code: string | null = null,
  ) {
    super(message);
  }
}
