import { describe, expect, it } from 'vitest';
import { faultOfSignature } from '../support/sigv4.js';

/** The examples of "Authenticating Requests: Using the Authorization Header", Amazon S3 API Reference. */
const CREDENTIALS = {
  accessKeyId: 'AKIAIOSFODNN7EXAMPLE',
  secretAccessKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
};
const NOW = Date.UTC(2013, 4, 24);
const EMPTY = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';

function signed(method: string, url: string, signature: string, more: Record<string, string> = {}) {
  const headers = {
    host: 'examplebucket.s3.amazonaws.com',
    'x-amz-content-sha256': EMPTY,
    'x-amz-date': '20130524T000000Z',
    ...more,
  };
  const names = Object.keys(headers).sort().join(';');
  const credential = `${CREDENTIALS.accessKeyId}/20130524/us-east-1/s3/aws4_request`;
  const authorization = `AWS4-HMAC-SHA256 Credential=${credential}, SignedHeaders=${names}, Signature=${signature}`;
  return { method, url, headers: { ...headers, authorization } };
}

const GET = signed('GET', '/test.txt', 'f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41', {
  range: 'bytes=0-9',
});
const PUT = signed(
  'PUT',
  '/test%24file.text',
  '98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd',
  {
    date: 'Fri, 24 May 2013 00:00:00 GMT',
    'x-amz-content-sha256': '44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072',
    'x-amz-storage-class': 'REDUCED_REDUNDANCY',
  },
);
const LIFECYCLE = signed(
  'GET',
  '/?lifecycle',
  'fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543',
);
const LIST = signed(
  'GET',
  '/?prefix=J&max-keys=2',
  '34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7',
);

describe('the check of signatures', () => {
  it.each([
    ['GET', GET],
    ['PUT', PUT],
    ['GET lifecycle', LIFECYCLE],
    ['list', LIST],
  ])('accepts the published example %s', (_, request) => {
    expect(faultOfSignature(request, CREDENTIALS, NOW)).toBeNull();
  });

  const headers = (more: Record<string, string>) => ({ ...GET, headers: { ...GET.headers, ...more } });
  it.each([
    ['another method', { ...GET, method: 'HEAD' }, 'SignatureDoesNotMatch'],
    ['another path', { ...GET, url: '/test.txu' }, 'SignatureDoesNotMatch'],
    ['another query', { ...LIST, url: '/?prefix=K&max-keys=2' }, 'SignatureDoesNotMatch'],
    ['another header', headers({ range: 'bytes=0-8' }), 'SignatureDoesNotMatch'],
    ['another body', headers({ 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD' }), 'SignatureDoesNotMatch'],
    ['an x-amz header that is not signed', headers({ 'x-amz-acl': 'public-read' }), 'AccessDenied'],
    ['no signature', headers({ authorization: '' }), 'AccessDenied'],
    ['another form', headers({ authorization: 'AWS x:y' }), 'AuthorizationHeaderMalformed'],
  ])('refuses %s', (_, request, code) => {
    expect(faultOfSignature(request, CREDENTIALS, NOW)).toBe(code);
  });

  it('refuses another secret, another key, another time', () => {
    const other = { ...CREDENTIALS, secretAccessKey: 'x' };
    expect(faultOfSignature(GET, other, NOW)).toBe('SignatureDoesNotMatch');
    expect(faultOfSignature(GET, { ...CREDENTIALS, accessKeyId: 'x' }, NOW)).toBe('InvalidAccessKeyId');
    expect(faultOfSignature(GET, CREDENTIALS, NOW + 15 * 60_000)).toBeNull();
    expect(faultOfSignature(GET, CREDENTIALS, NOW + 15 * 60_000 + 1)).toBe('RequestTimeTooSkewed');
  });
});
