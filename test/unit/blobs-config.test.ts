import { describe, expect, it } from 'vitest';
import { systemClock } from '../../shared/base/clock.js';
import { openBlobs } from '../../shared/blobs/open.js';
import { loadConfig } from '../../shared/contract/config.js';

describe('where blobs are kept', () => {
  it.each(['s3://bucket', 's3://my.bucket-1/prefix', 's3://bucket/a/b-c/d_E'])('takes %s', (place) => {
    expect(loadConfig({ SLUICE_BLOBS: place }).SLUICE_BLOBS).toBe(place);
  });

  it.each([
    'bucket',
    's3://',
    's3://b',
    's3://Bucket',
    's3://bucket/',
    's3://bucket//a',
    's3://bucket/../a',
    's3://user:secret@bucket',
    'file:///tmp',
  ])('refuses %s', (place) => {
    expect(() => loadConfig({ SLUICE_BLOBS: place })).toThrow(/SLUICE_BLOBS=/);
  });

  it('takes an endpoint that is a URL, and has a region', () => {
    expect(loadConfig({}).SLUICE_BLOBS_REGION).toBe('us-east-1');
    expect(() => loadConfig({ SLUICE_BLOBS_ENDPOINT: 'minio:9000' })).toThrow(/SLUICE_BLOBS_ENDPOINT/);
  });

  it.each(['SLUICE_BLOBS_ACCESS_KEY', 'SLUICE_BLOBS_SECRET_KEY'])(
    'does not start with %s alone, and does not show it',
    async (name) => {
      const config = loadConfig({ SLUICE_BLOBS: 's3://bucket', [name]: 'hidden' });
      const open = openBlobs(config, systemClock);
      await expect(open).rejects.toMatchObject({ exitCode: 78, message: /or neither/ });
      await expect(open).rejects.not.toThrow(/hidden/);
    },
  );
});
