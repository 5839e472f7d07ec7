/** The Lua scripts: each is a command whose names are those of its text, and says at its head what it does. */
import { readdirSync, readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { SHADOW_TENANT } from '../../shared/contract/job.js';
import { EVENTS_OF_NONE } from '../../shared/core/jobs/submission/job-writer.js';
import type { Command } from '../../shared/redis/command.js';
import { COMMANDS } from '../../shared/redis/commands.js';
import { type CommandName, scriptText } from '../../shared/redis/load-script.js';

const FOLDER = new URL('../../shared/redis/lua/', import.meta.url);
const scriptsIn = (folder: URL) =>
  readdirSync(folder)
    .filter((name) => name.endsWith('.lua'))
    .map((name) => name.slice(0, -'.lua'.length));
const commands = Object.keys(COMMANDS) as CommandName[];
const includes = scriptsIn(new URL('include/', FOLDER));
const textOf = (path: string) => readFileSync(new URL(`${path}.lua`, FOLDER), 'utf8');
const withoutComments = (text: string) => text.replace(/--.*$/gm, '');
/** The keywords of Lua, and what Redis gives every script. */
const LUA_NAMES = (
  'and break do else elseif end false for function if in local nil not or repeat return then true until while ' +
  'KEYS ARGV cjson redis string math table tonumber tostring ipairs pairs unpack'
).split(' ');

it('has a command for each script', () => {
  expect(scriptsIn(FOLDER).sort()).toEqual([...commands].sort());
});

it.each(commands)('%s says first what it does', (command) => {
  const [first] = textOf(command).split('\n');
  expect(first).toMatch(/^-- [A-Z].*/);
});

it.each(commands)('%s binds keys and arguments to names, and uses only the names', (command) => {
  const { keys, args } = COMMANDS[command];
  const used = withoutComments(textOf(command)).match(/(KEYS|ARGV)\[/g) ?? [];
  expect(used).toHaveLength(keys.length + args.length);
  expect(keys.filter((name) => !name.endsWith('Key'))).toEqual([]);
});

it.each(commands)('%s says of each key what lies under it', (command) => {
  const bindings = textOf(command).match(/^local \w+ = KEYS.*$/gm) ?? [];
  const described = /KEYS\[\d+\] -- (string|hash|list|set|sorted set|stream): \S/;
  expect(bindings.filter((line) => !described.test(line))).toEqual([]);
});

it.each(commands)('%s says what it replies', (command) => {
  expect(textOf(command)).toMatch(/^-- Reply /m);
});

it.each(commands)(
  '%s takes the values of its entries from behind its arguments, by their names',
  (command) => {
    const { each = [] }: Command = COMMANDS[command];
    const text = withoutComments(textOf(command));
    expect(/#ARGV|unpack\(ARGV/.test(text)).toBe(each.length > 0);
    const [, names = each.join(', ')] = /local ([\w, ]+) = unpack\(ARGV/.exec(text) ?? [];
    expect(names).toBe(each.join(', '));
  },
);

it.each(commands)('%s includes what it calls, and no include in vain', (command) => {
  const text = scriptText(command);
  expect(text).not.toMatch(/^--- @include/m);
  const given = [...text.matchAll(/^local (?:function )?(\w+)/gm)].map(([, name = '']) => name);
  const body = withoutComments(text);
  const unused = given.filter((name) => (body.match(new RegExp(`\\b${name}\\b`, 'g')) ?? []).length < 2);
  expect(unused).toEqual([]);
});

it.each(commands)(
  '%s uses no name that it lacks, which Redis would refuse only when it comes to it',
  (command) => {
    const body = withoutComments(scriptText(command)).replace(/'[^']*'/g, "''");
    const lists = [
      ...body.matchAll(/\blocal (?!function)([\w, ]+)/g),
      ...body.matchAll(/\bfor ([\w, ]+?) (?:=|in) /g),
      ...body.matchAll(/\bfunction [\w.]*\(([^)]*)\)/g),
      ...body.matchAll(/\blocal function (\w+)/g),
      ...body.matchAll(/[{,]\s*(\w+) = /g),
    ];
    const known = new Set([...LUA_NAMES, ...lists.flatMap(([, list = '']) => list.trim().split(/,\s*/))]);
    const used = new Set(body.match(/(?<![\w.])[a-zA-Z_]\w*/g));
    expect([...used].filter((name) => !known.has(name))).toEqual([]);
  },
);

it.each(includes)('include/%s says what it gives, and uses no key or argument of a script', (include) => {
  const text = textOf(`include/${include}`);
  expect(text).toMatch(/^-- Gives /);
  expect(withoutComments(text)).not.toMatch(/KEYS|ARGV/);
});

it('has the constants of the code', () => {
  expect(textOf('include/shadow-tenant')).toContain(`local SHADOW_TENANT = '${SHADOW_TENANT}'`);
  expect(textOf('include/tell-job-event')).toContain(`local EVENTS_OF_NONE = '${EVENTS_OF_NONE}'`);
});
