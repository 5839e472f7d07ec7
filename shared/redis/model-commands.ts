/**
 * The commands of models and versions; commands.ts has those of all nouns.
 */
import type { Command } from './command.js';

export const MODEL_COMMANDS = {
  'add-version': {
    keys: ['modelKey', 'modelsKey', 'revisionKey', 'numbersKey'],
    args: ['version', 'stored', 'description', 'name', 'call', 'folder'],
    reply: 'number',
  },
  'report-version': {
    keys: ['modelKey', 'outboxKey', 'subscribedKey', 'numbersKey'],
    args: ['version', 'state', 'report', 'name', 'proven', 'unserved'],
    reply: 'nothing',
  },
  'register-version': {
    keys: ['modelKey', 'modelsKey'],
    args: ['version', 'name', 'before', 'stored', 'description', 'isFresh'],
    reply: 'number',
  },
  'retire-version': {
    keys: ['modelKey', 'purgesKey', 'revisionKey'],
    args: ['version', 'member', 'keptMs'],
    reply: 'string',
  },
  'delete-model': {
    keys: ['modelKey', 'purgesKey', 'canariesKey', 'revisionKey'],
    args: ['name'],
    reply: 'number',
  },
  'close-version': {
    keys: ['modelKey', 'queueKey', 'waitingKey', 'revisionKey', 'purgesKey'],
    args: ['version', 'member'],
    reply: 'string',
  },
  'forget-version': {
    keys: [
      'modelKey',
      'queueKey',
      'waitingKey',
      'versionOutcomesKey',
      'agreementKey',
      'crashBlocklistKey',
      'answersKey',
      'canariesKey',
      'purgesKey',
    ],
    args: ['version', 'name', 'folder', 'member', 'lookAfterMs'],
    reply: 'nothing',
  },
  'forget-model': {
    keys: [
      'modelKey',
      'modelsKey',
      'numbersKey',
      'pausedKey',
      'queuedKey',
      'purgesKey',
      'revisionKey',
      'scalingKey',
    ],
    args: ['name'],
    reply: 'number',
  },
  'keep-predictions': {
    keys: ['cachedKey', 'answersKey', 'modelKey', 'numbersKey'],
    args: ['model', 'version', 'output', 'seconds', 'maxKept', 'maxSeconds'],
    reply: 'nothing',
  },
  'add-counts': {
    keys: ['countsKey', 'modelKey', 'numbersKey'],
    args: ['model', 'version'],
    each: ['field', 'count'],
    reply: 'nothing',
  },
  'pause-queue': {
    keys: ['pausedKey', 'modelKey', 'numbersKey'],
    args: ['model'],
    reply: 'nothing',
  },
  'move-alias': {
    keys: ['modelKey', 'canariesKey', 'versionOutcomesKey', 'canaryOutcomesKey', 'agreementKey'],
    args: ['alias', 'version', 'canaryVersion', 'canary', 'canaryMember', 'shadowVersion', 'shadow'],
    reply: 'strings',
  },
  'roll-back-canary': {
    keys: ['modelKey', 'canariesKey'],
    args: ['alias', 'judged', 'rolledBack', 'canaryMember'],
    reply: 'number',
  },
} as const satisfies Record<string, Command>;
