import { type AddressInfo, createConnection, type NetConnectOpts } from 'node:net';
import { Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../shared/base/clock.js';
import { ConfigError } from '../../shared/base/config.js';
import { Refusal } from '../../shared/base/errors.js';
import { createErrorLog, createLogger } from '../../shared/base/log.js';
import { createReadGauge, createRegistry, serveMetrics } from '../../shared/base/metrics.js';
import { loadCommandConfig, loadConfig } from '../../shared/contract/config.js';
import { isId, newId } from '../../shared/contract/ids.js';
import { VARIABLES } from '../../shared/contract/variables.js';
import { createManualClock } from '../support/manual-clock.js';

describe('ids', () => {
  it('sort by time, differ, and are known by their prefix', () => {
    const ids = Array.from({ length: 2000 }, (_, i) => newId('job', 1_700_000_000_000 + i));
    expect([...ids].sort()).toEqual(ids);
    const same = Array.from({ length: 2000 }, () => newId('job', 1_700_000_000_000));
    expect(new Set(same).size).toBe(2000);
    expect(isId('job', ids[0] ?? '')).toBe(true);
    for (const bad of ['', '1', 'job_1', newId('evt', 0), `${ids[0]}0`, `job_${':'.repeat(36)}`])
      expect(isId('job', bad)).toBe(false);
  });
});

describe('configuration', () => {
  it('has a default for everything that has one', () => {
    expect(loadConfig({})).toMatchObject({
      PORT: 8080,
      HOST: '127.0.0.1',
      SLUICE_BACKEND: 'auto',
      SLUICE_ALLOW_UNSAFE_REDIS: false,
    });
  });

  it('lists every fault at once and shows no secret', () => {
    const load = () =>
      loadConfig({
        PORT: 'x',
        SLUICE_BACKEND: 'quantum',
        SLUICE_PRT: '1',
        SLUICE_BOOTSTRAP_KEY: 'my-secret',
        SLUICE_MAX_DEPTH: '1',
      });
    expect(load).toThrow(
      [
        'The configuration cannot be used:',
        '  PORT=x must be a whole number',
        '  SLUICE_BOOTSTRAP_KEY must be slk_ and at least 22 letters and digits',
        '  SLUICE_BACKEND=quantum must be one of auto, cuda, native, wasm, cpu, onnx',
        '  SLUICE_MAX_DEPTH=1 must be >= 2',
        '  SLUICE_PRT is not a variable of Sluice',
      ].join('\n'),
    );
  });

  it('knows the variables of the command, and leaves them to it', () => {
    const given = { SLUICE_URL: 'nonsense', SLUICE_API_KEY: 'a b' };
    expect(loadConfig(given)).toEqual(loadConfig({}));
    expect(() => loadCommandConfig(given)).toThrow(
      [
        'The configuration cannot be used:',
        '  SLUICE_URL=nonsense must be an http:// or https:// address without user, query and fragment',
        '  SLUICE_API_KEY must be one word of ASCII letters, digits and signs',
      ].join('\n'),
    );
    expect(() => loadCommandConfig({ SLUICE_PRT: '1' })).toThrow('SLUICE_PRT is not a variable of Sluice');
  });

  it('takes origins as browsers send them', () => {
    for (const origins of ['', '*', 'https://a.example', 'http://localhost:5173, capacitor://localhost'])
      expect(loadConfig({ SLUICE_CORS_ORIGINS: origins }).SLUICE_CORS_ORIGINS).toBe(origins);
    for (const origins of [
      'a.example',
      'https://a.example/',
      'https://A.example',
      'https://u@a.example',
      '*,*',
    ])
      expect(() => loadConfig({ SLUICE_CORS_ORIGINS: origins })).toThrow('must be * or origins such as');
  });

  it.each(Object.entries(VARIABLES).filter(([, variable]) => 'pattern' in variable))(
    '%s says in words which form it must have',
    (name) => {
      expect(() => loadConfig({ [name]: 's3:?' })).toThrow(new RegExp(`${name}\\S* must [^^]+$`));
    },
  );

  it.each(Object.entries(VARIABLES))('%s is described', (_, { description }) => {
    expect(description.length).toBeGreaterThan(10);
  });
});

describe('the log', () => {
  it('tells of an error what an operator needs, not what a library hung on it', () => {
    const lines: string[] = [];
    const error = Object.assign(new Error('OOM command not allowed', { cause: new Error('full') }), {
      code: 'ERR',
      command: { name: 'evalsha', args: ['a caller’s data'] },
    });
    const log = createLogger('test', 'info', { write: (line) => void lines.push(line) });
    log.error({ err: error }, 'failed');
    log.error({ err: 'no error at all' }, 'failed');
    expect(lines.join('')).not.toContain('caller');
    const [first, second] = lines.map((line) => JSON.parse(line).err);
    expect(first).toMatchObject({ type: 'Error', message: 'OOM command not allowed', code: 'ERR' });
    expect(first.cause.message).toBe('full');
    expect(first.stack).toContain('base.test.ts');
    expect(second).toBe('no error at all');
  });

  it('tells of what the system says no place in the code, and each kind once a second', async () => {
    const lines: string[] = [];
    const clock = createManualClock();
    const tell = createErrorLog(
      createLogger('test', 'info', { write: (line) => void lines.push(line) }),
      clock,
    );
    const refused = await connect({ port: 1, host: '127.0.0.1' }).catch((error: unknown) => error);
    for (let i = 0; i < 3; i++) tell('redis', refused);
    await clock.advance(1000);
    tell('redis', new Error('other'));
    const [first, second] = lines.map((line) => JSON.parse(line));
    expect(lines).toHaveLength(2);
    expect(first).toMatchObject({ kind: 'redis', why: 'connect ECONNREFUSED 127.0.0.1:1' });
    expect(first.err).toBeUndefined();
    expect(second).toMatchObject({ heldBack: 2, err: { message: 'other', stack: expect.any(String) } });
  });

  it('does not tell where a refusal was thrown, which says all by itself', () => {
    const lines: string[] = [];
    const log = createLogger('test', 'info', { write: (line) => void lines.push(line) });
    for (const Kind of [Refusal, ConfigError]) log.fatal({ err: new Kind('no Redis') }, 'cannot start');
    expect(lines.map((line) => JSON.parse(line).err)).toEqual([
      { type: 'Refusal', message: 'no Redis' },
      { type: 'ConfigError', message: 'no Redis' },
    ]);
  });
});

describe('metrics', () => {
  const READ = { name: 'read', help: 'Read.' };
  const valuesOf = async (registry: Registry) => (await registry.metrics()).split('\n').slice(2, -1);

  it('that are read elsewhere are those of now, and leave out what is no more', async () => {
    const registry = new Registry();
    let readings = [{ labels: { of: 'a' }, value: 1 }];
    const read = async () => readings;
    createReadGauge(systemClock, { ...READ, labelNames: ['of'], registers: [registry] }, read);
    expect(await valuesOf(registry)).toEqual(['read{of="a"} 1']);
    readings = [{ labels: { of: 'b' }, value: 2 }];
    expect(await valuesOf(registry)).toEqual(['read{of="b"} 2']);
  });

  it('that cannot be read are left out for so long, and the others are served', async () => {
    const registry = new Registry();
    const clock = createManualClock();
    let answer: () => Promise<{ value: number }[]> = async () => [{ value: 3 }];
    createReadGauge(clock, { ...READ, registers: [registry] }, () => answer());
    expect(await valuesOf(registry)).toEqual(['read 3']);
    answer = () => Promise.reject(new Error('away'));
    expect(await valuesOf(registry)).toEqual([]);
    answer = () => new Promise(() => {});
    const late = valuesOf(registry);
    await clock.advance(1000);
    expect(await late).toEqual([]);
    answer = async () => [{ value: 4 }];
    expect(await valuesOf(registry)).toEqual(['read 4']);
  });

  it('are served beside probes, on the address that is configured', async () => {
    let isReady = false;
    const demandReady = async () => {
      if (!isReady) throw new Error('The store is away.');
    };
    const address = { host: '0.0.0.0', port: 0, settings: '' };
    const registry = createRegistry();
    const server = await serveMetrics(registry, address, createLogger('test', 'silent'), demandReady);
    if (!server) throw new Error('no port is free');
    const { address: listening, port } = server.address() as AddressInfo;
    expect(listening).toBe('0.0.0.0');
    const ask = async (path: string, method = 'GET') => {
      const answer = await fetch(`http://127.0.0.1:${port}${path}`, { method });
      return [answer.status, await answer.text()];
    };
    expect(await ask('/livez')).toEqual([200, 'alive\n']);
    expect(await ask('/readyz')).toEqual([503, 'The store is away.\n']);
    isReady = true;
    expect(await ask('/readyz')).toEqual([200, 'ready\n']);
    expect(await ask('/metrics')).toEqual([200, expect.stringContaining('process_cpu_seconds_total')]);
    expect(await ask('/')).toEqual([404, '']);
    expect(await ask('/livez', 'POST')).toEqual([404, '']);
    server.close();
  });

  it('are left out, and told which variables say otherwise, where their port is taken', async () => {
    const lines: string[] = [];
    const log = createLogger('test', 'info', { write: (line) => void lines.push(line) });
    const serve = (port: number) =>
      serveMetrics(
        new Registry(),
        { host: '127.0.0.1', port, settings: 'HOST and PORT' },
        log,
        async () => {},
      );
    const first = await serve(0);
    if (!first) throw new Error('no port is free');
    const { port } = first.address() as AddressInfo;
    expect(await serve(port)).toBeNull();
    first.close();
    const told = JSON.parse(lines.at(-1) ?? '');
    expect(told).toMatchObject({ level: 40, port, why: expect.stringContaining('EADDRINUSE') });
    expect(told.msg).toContain('HOST and PORT choose another address');
    expect(told.err).toBeUndefined();
  });
});

function connect(options: NetConnectOpts): Promise<never> {
  return new Promise((_, reject) => createConnection(options).once('error', reject));
}
