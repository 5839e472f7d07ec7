/**
 * Loads the scripts of lua/ as commands of a connection.
 *
 * `--- @include "name"` in a script stands for the text of lua/include/name.lua, once however often it is included. A script
 * binds its keys and arguments to names before it does anything, and callers give values by these names, so no caller counts
 * positions. A script whose names differ from commands.ts is refused when a process starts.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { messageOf } from '../base/errors.js';
import { requirePackage } from '../base/packages.js';
import type { Command } from './command.js';
import { COMMANDS } from './commands.js';
import type { Redis } from './connect.js';

const { Command: RedisCommand } = requirePackage('ioredis') as typeof import('ioredis');

export type CommandName = keyof typeof COMMANDS;
type Value = string | number | Buffer;
type NameIn<C extends CommandName> = (typeof COMMANDS)[C]['keys' | 'args'][number];
interface Replies {
  nothing: null;
  number: number;
  string: string;
  strings: string[];
  buffers: Buffer[];
  rows: string[][];
}
type ReplyOf<C extends CommandName> = Replies[(typeof COMMANDS)[C]['reply']];
type Values<Name extends string> = Readonly<Record<Name, Value>>;
type Entries<C extends CommandName> = (typeof COMMANDS)[C] extends {
  each: readonly (infer Name extends string)[];
}
  ? [entries: readonly Values<Name>[]]
  : [];

/** Runs a script with a value for each of its names, and with entries where it takes them. */
export type Script<C extends CommandName> = (
  values: Values<NameIn<C>>,
  ...entries: Entries<C>
) => Promise<ReplyOf<C>>;

type Evaluate = (name: 'eval' | 'evalsha', passed: Value[]) => Promise<unknown>;

const FOLDER = new URL('./lua/', import.meta.url);
const INCLUDE = /^--- @include "([a-z-]+)"\n/gm;
const BOUND = /^local (\w+) = (KEYS|ARGV)\[(\d+)\]/gm;
const BOUND_EACH = /^local FIRST_\w+ = (\d+) -- for each: ([\w, ]+)$/m;

const texts = new Map<CommandName, string>();
/** The texts that Redis is given whenever a connection is ready, because it may have been started anew. */
const given = new WeakMap<Redis, string[]>();

/**
 * Returns a script as a function. Redis gets the text when the connection is ready, keeps it by its hash (EVALSHA), and gets
 * it again only when it has forgotten it. So a call is one command, and commands of one turn run in their order.
 * `defineCommand` of ioredis would copy every script of a connection into each pipeline, at 1 to 3 µs a script.
 *
 * @param isAlone has calls sent at once, before those of the turn that travel together: for a caller that has gathered its turn.
 * @throws Error when the script or an include is missing, or its names are not those of commands.ts
 */
export function loadScript<C extends CommandName>(
  redis: Redis,
  command: C,
  { isAlone } = { isAlone: false },
): Script<C> {
  const { keys, args, each = [], reply }: Command = COMMANDS[command];
  const text = scriptText(command);
  const sha = createHash('sha1').update(text).digest('hex');
  give(redis, text);
  const evaluate = isAlone ? sendAlone(redis, reply) : sendWithOthers(redis, reply);
  const names = [...keys, ...args] as NameIn<C>[];
  return async (values, entries: readonly Values<string>[] = []) => {
    const passed: Value[] = [keys.length];
    for (const name of names) passed.push(values[name]);
    for (const entry of entries) for (const name of each) passed.push(entry[name] as Value);
    try {
      return (await evaluate('evalsha', [sha, ...passed])) as ReplyOf<C>;
    } catch (error) {
      if (!messageOf(error).startsWith('NOSCRIPT')) throw error;
      return (await evaluate('eval', [text, ...passed])) as ReplyOf<C>;
    }
  };
}

/** The command travels in the pipeline of its turn. */
function sendWithOthers(redis: Redis, reply: Command['reply']): Evaluate {
  const suffix = reply === 'buffers' ? 'Buffer' : '';
  type Call = (...passed: Value[]) => Promise<unknown>;
  const client = redis as unknown as Record<`eval${'' | 'sha'}${'' | 'Buffer'}`, Call>;
  return (name, passed) => client[`${name}${suffix}`](...passed);
}

/** The command travels at once: a pipeline of one costs objects and a turn of the event loop. */
function sendAlone(redis: Redis, reply: Command['reply']): Evaluate {
  const replyEncoding = reply === 'buffers' ? null : 'utf8';
  return (name, passed) =>
    redis.sendCommand(new RedisCommand(name, passed, { replyEncoding })) as Promise<unknown>;
}

function give(redis: Redis, text: string): void {
  // A failure does no harm here, because the call that needs the script sends it.
  const load = (each: string) => void redis.script('LOAD', each).catch(() => undefined);
  let known = given.get(redis);
  if (!known) {
    known = [];
    given.set(redis, known);
    redis.on('ready', () => given.get(redis)?.forEach(load));
  }
  if (known.includes(text)) return;
  known.push(text);
  if (redis.status === 'ready') load(text);
}

/** Returns the text of a script with its includes in place. */
export function scriptText(command: CommandName): string {
  const known = texts.get(command);
  if (known !== undefined) return known;
  const own = readFileSync(new URL(`${command}.lua`, FOLDER), 'utf8');
  demandNames(command, own);
  const text = withIncludes(own, new Set());
  texts.set(command, text);
  return text;
}

function withIncludes(text: string, included: Set<string>): string {
  return text.replace(INCLUDE, (_, name: string) => {
    if (included.has(name)) return '';
    included.add(name);
    return withIncludes(readFileSync(new URL(`include/${name}.lua`, FOLDER), 'utf8'), included);
  });
}

function demandNames(command: CommandName, text: string): void {
  const { keys, args, each }: Command = COMMANDS[command];
  const [, first, ofEach] = BOUND_EACH.exec(text) ?? [];
  const bound = [...text.matchAll(BOUND)].map(([, name, list, position]) => `${list} ${position} ${name}`);
  if (ofEach) bound.push(`from ARGV ${first} on ${ofEach}`);
  const declared = [
    ...keys.map((name, i) => `KEYS ${i + 1} ${name}`),
    ...args.map((name, i) => `ARGV ${i + 1} ${name}`),
  ];
  if (each) declared.push(`from ARGV ${args.length + 1} on ${each.join(', ')}`);
  if (bound.join() !== declared.join())
    throw new Error(`lua/${command}.lua binds ${bound.join(', ')}; commands.ts has ${declared.join(', ')}`);
}
