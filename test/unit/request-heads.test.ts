/**
 * What callers write into the heads of requests.
 */
import Koa, { type Context } from 'koa';
import { expect, it } from 'vitest';
import { answerUnchanged } from '../../api/http/etag.js';
import { idempotencyKeyOf } from '../../api/http/idempotency.js';
import { waitMsOf } from '../../api/http/parameters.js';

const app = new Koa();
/** Returns the context of a request with these headers. */
const requestWith = (headers: Record<string, string>, url = '/') =>
  app.createContext(
    { headers, url, method: 'GET' } as never,
    {
      setHeader() {},
      getHeader() {},
      removeHeader() {},
      hasHeader: () => false,
    } as never,
  ) as Context;

it.each([
  ['wait', 60],
  ['wait, respond-async', 60],
  ['respond-async,Wait', 60],
  ['wait=""', 60],
  ['wait=7', 7],
  ['WAIT = "7"', 7],
  ['respond-async; wait=9, wait=7', 7],
  ['wait; foo=bar', 60],
  ['wait=7, wait=9', 7],
  ['wait=3600', 60],
  ['wait=soon', 0],
  ['waiting', 0],
  ['handling="a, wait"', 0],
  ['', 0],
])('Prefer: %s waits %d s', (prefer, seconds) => {
  expect(waitMsOf(requestWith({ prefer }), 60)).toBe(seconds * 1000);
});

it('an operator who allows less has `Prefer: wait` wait less', () => {
  expect(waitMsOf(requestWith({ prefer: 'wait' }), 5)).toBe(5000);
});

it('the query goes before the preference', () => {
  expect(waitMsOf(requestWith({ prefer: 'wait' }, '/?wait=3'), 60)).toBe(3000);
});

it('an Idempotency-Key that is empty is no missing one', () => {
  expect(idempotencyKeyOf(requestWith({}))).toBe('');
  expect(idempotencyKeyOf(requestWith({ 'idempotency-key': 'order 42' }))).toBe('order 42');
  expect(() => idempotencyKeyOf(requestWith({ 'idempotency-key': '' }))).toThrow(/is empty/);
  expect(() => idempotencyKeyOf(requestWith({ 'idempotency-key': 'ü' }))).toThrow(/printable ASCII/);
});

it.each([
  ['"abc"', 304],
  ['W/"abc"', 304],
  ['"x", "abc"', 304],
  ['"x,y",W/"abc" , "z"', 304],
  ['*', 304],
  ['"ab"', 200],
  ['"x, abc"', 200],
  ['abc', 200],
  ['"*"', 200],
  ['', 200],
])('If-None-Match: %s of "abc" is %d', (tags, status) => {
  const ctx = requestWith({ 'if-none-match': tags });
  ctx.status = 200;
  answerUnchanged(ctx, 'abc');
  expect(ctx.status).toBe(status);
});
