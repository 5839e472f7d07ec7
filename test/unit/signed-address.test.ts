import { createHmac, randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkGrant, signGrant } from '../../shared/contract/signed-address.js';
import { createManualClock } from '../support/manual-clock.js';

const SECRET = Buffer.alloc(32, 1);
const DOWNLOAD = { act: 'download', key: 'files/file_1', tenant: 'acme' } as const;
const EXPIRES = 1_700_000_060;
const query = signGrant([SECRET], DOWNLOAD, EXPIRES);
const nowMs = 1_700_000_000_000;

describe('signed addresses', () => {
  it('are an HMAC-SHA256 over act, key, tenant and expiry', () => {
    const text = '["sluice.download.v1","files/file_1","acme","1700000060"]';
    const signature = createHmac('sha256', SECRET).update(text).digest('base64url');
    expect(query).toEqual({ expires: '1700000060', signature });
    expect(new URLSearchParams({ ...query }).toString()).toBe(`expires=1700000060&signature=${signature}`);
  });

  it('are valid until they expire, and not a moment longer', async () => {
    const clock = createManualClock(nowMs);
    const check = () => checkGrant([SECRET], DOWNLOAD, query, clock.now());
    expect(check()).toBe('valid');
    await clock.advance(59_999);
    expect(check()).toBe('valid');
    await clock.advance(1);
    expect(check()).toBe('expired');
  });

  it('live at least as long as asked', () => {
    const { expires } = signGrant([SECRET], DOWNLOAD, 1.2);
    expect(expires).toBe('2');
  });

  it.each([
    ['another act', { act: 'events' as const }],
    ['another key', { key: 'files/file_2' }],
    ['a key and a tenant cut elsewhere', { key: 'files/file_1a', tenant: 'cme' }],
    ['another tenant', { tenant: 'globex' }],
    ['no tenant', { tenant: '' }],
  ])('do not cover %s', (_, change) => {
    expect(checkGrant([SECRET], { ...DOWNLOAD, ...change }, query, nowMs)).toBe('forged');
  });

  it.each([
    ['a later expiry', { expires: String(EXPIRES + 1) }],
    ['the same expiry, written otherwise', { expires: `0${EXPIRES}` }],
    ['an expiry with an exponent', { expires: '17e8' }],
    ['an endless expiry', { expires: '9'.repeat(400) }],
    ['an expiry that was given twice', { expires: [query.expires, query.expires] }],
    ['no expiry', { expires: undefined }],
    ['no signature', { signature: undefined }],
    ['an empty signature', { signature: '' }],
    ['a signature with more at its end', { signature: `${query.signature}A` }],
    ['a signature with padding', { signature: `${query.signature}=` }],
    ['half a signature', { signature: query.signature.slice(0, 21) }],
    ['letters that take several bytes', { signature: 'é'.repeat(43) }],
  ])('are forged with %s', (_, change) => {
    expect(checkGrant([SECRET], DOWNLOAD, { ...query, ...change }, nowMs)).toBe('forged');
  });

  it('are forged with any one character changed', () => {
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    const place = fc.nat(query.signature.length - 1);
    fc.assert(
      fc.property(place, fc.constantFrom(...alphabet), (at, char) => {
        fc.pre(query.signature[at] !== char);
        const signature = query.signature.slice(0, at) + char + query.signature.slice(at + 1);
        expect(checkGrant([SECRET], DOWNLOAD, { ...query, signature }, nowMs)).toBe('forged');
      }),
    );
  });

  it('stay valid while their secret is rotated, and not after', () => {
    const newer = randomBytes(32);
    expect(checkGrant([newer, SECRET], DOWNLOAD, query, nowMs)).toBe('valid');
    expect(checkGrant([newer], DOWNLOAD, query, nowMs)).toBe('forged');
    const next = signGrant([newer, SECRET], DOWNLOAD, EXPIRES);
    expect(checkGrant([newer], DOWNLOAD, next, nowMs)).toBe('valid');
  });

  it('an expired one that was never signed is forged', () => {
    expect(checkGrant([SECRET], DOWNLOAD, { ...query, expires: '1' }, nowMs)).toBe('forged');
  });

  it.each([0, -1, Number.NaN, Number.POSITIVE_INFINITY, 1e11])('cannot expire at %d', (expiresSeconds) => {
    expect(() => signGrant([SECRET], DOWNLOAD, expiresSeconds)).toThrow(/no time/);
  });

  it('need a secret, and a long one', () => {
    expect(() => signGrant([], DOWNLOAD, EXPIRES)).toThrow(/no secret/);
    expect(() => signGrant([Buffer.alloc(31)], DOWNLOAD, EXPIRES)).toThrow(/at least 32/);
    expect(checkGrant([], DOWNLOAD, query, nowMs)).toBe('forged');
  });
});
