/**
 * The entry of a script in the tables of commands.
 */

/** The names and the reply of a script. */
export interface Command {
  keys: readonly string[];
  args: readonly string[];
  /** The names of the values that follow the arguments, once for each of any number of entries. */
  each?: readonly string[];
  /** `rows` is a list of strings for each entry. */
  reply: 'nothing' | 'number' | 'string' | 'strings' | 'buffers' | 'rows';
}
