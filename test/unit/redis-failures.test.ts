/**
 * What counts as a failure of Redis, by the words of servers that a test cannot bring to say them.
 */
import { describe, expect, it } from 'vitest';
import { isRedisFailure } from '../../shared/redis/failures.js';

const discarded = (...previousErrors: Error[]) =>
  Object.assign(new Error('EXECABORT Transaction discarded because of previous errors.'), { previousErrors });

describe('a failure of Redis', () => {
  it.each([
    'TRYAGAIN Multiple keys request during rehashing of slot',
    'ASK 866 127.0.0.1:7001',
    'MOVED 866 127.0.0.1:7001',
    'WRONGPASS invalid username-password pair or user is disabled.',
    'LOADING Redis is loading the dataset in memory',
    'UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)',
    'MISCONF Redis is configured to save RDB snapshots, but it is currently unable to persist on disk.',
    "ERR Error running script (call to f_0): @user_script:7: @user_script: 7: -READONLY You can't write against a read only replica.",
  ])('%s', (message) => expect(isRedisFailure(new Error(message))).toBe(true));

  it('is a MULTI that such a reply discarded', () =>
    expect(
      isRedisFailure(discarded(new Error('READONLY You cannot write against a read only replica.'))),
    ).toBe(true));
});

describe('a fault of ours', () => {
  it.each([
    'WRONGTYPE Operation against a key holding the wrong kind of value',
    'ERR Error running script (call to f_0): @user_script:7: attempt to index a nil value',
    'BUSYGROUP Consumer Group name already exists',
    'ERR syntax error',
  ])('%s', (message) => expect(isRedisFailure(new Error(message))).toBe(false));

  it('is a MULTI that it discarded', () =>
    expect(isRedisFailure(discarded(new Error('ERR unknown command')))).toBe(false));
});
