/**
 * Routes of webhooks: the secret with which a tenant's per-job webhooks are signed.
 */
import Router from '@koa/router';
import type { createAuth } from '../middleware/auth.js';
import { principalOf } from '../middleware/auth.js';

export interface WebhookRoutesDeps {
  signingSecret: (tenant: string) => Promise<string>;
  auth: ReturnType<typeof createAuth>;
}

export function webhookRoutes({ signingSecret, auth }: WebhookRoutesDeps): Router {
  return new Router().get('/v1/webhook-secret', auth('webhooks:read'), async (ctx) => {
    ctx.body = { secret: await signingSecret(principalOf(ctx).tenant) };
  });
}
