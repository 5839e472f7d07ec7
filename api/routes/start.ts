/**
 * Where things are, for whoever has an address and nothing else: `GET /` for people, `GET /v1` for programs.
 *
 * Both are collected from the OpenAPI document and ask for no API key, as that document does. The page loads nothing, and
 * names no other host: it must work in a closed network, and behind a proxy whose name nobody here knows.
 */
import { createHash } from 'node:crypto';
import type Router from '@koa/router';
import type { Context } from 'koa';
import { VERSION } from '../../shared/base/version.js';
import { json, type Operations, routesOf } from '../http/operations.js';

const ADDRESS = { type: 'string', format: 'uri-reference' };
const START = {
  type: 'object',
  additionalProperties: false,
  required: ['name', 'version', 'api', 'openapi', 'livez', 'readyz'],
  properties: {
    name: { const: 'Sluice' },
    version: { type: 'string' },
    api: ADDRESS,
    openapi: ADDRESS,
    livez: ADDRESS,
    readyz: ADDRESS,
  },
};
const RESOURCES = {
  type: 'object',
  additionalProperties: false,
  required: ['version', 'openapi', 'resources'],
  properties: {
    version: { type: 'string' },
    openapi: ADDRESS,
    resources: { type: 'object', additionalProperties: ADDRESS },
  },
};
const { content: startJson } = json('', START);

export const startOperations = {
  'get /': {
    operationId: 'start',
    summary: 'Where things are: a page, or JSON where that is preferred',
    scope: null,
    responses: {
      200: {
        description: 'The addresses.',
        content: { 'text/html': { schema: { type: 'string' } }, ...startJson },
      },
    },
  },
  'get /v1': {
    operationId: 'listResources',
    summary: 'The addresses of all resources',
    scope: null,
    responses: { 200: json('The addresses, by name.', RESOURCES) },
  },
} as const satisfies Operations;

/** The part of an OpenAPI document that is read here. */
export interface DescribedPaths {
  paths: Readonly<Record<string, Readonly<Record<string, { summary: string }>>>>;
}

interface Resource {
  name: string;
  path: string;
  summary: string;
}

const LINKS = { api: '/v1', openapi: '/openapi.json', livez: '/livez', readyz: '/readyz' };
const STYLE = `body{font:1rem/1.5 system-ui,sans-serif;max-width:48rem;margin:3rem auto;padding:0 1rem}
td{padding:.1rem 1.5rem .1rem 0;vertical-align:top}`;
const POLICY = [
  "default-src 'none'",
  `style-src 'sha256-${createHash('sha256').update(STYLE).digest('base64')}'`,
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

/** Returns the routes. */
export function startRoutes(document: DescribedPaths): Router {
  const resources = resourcesOf(document);
  const html = pageOf(resources);
  const start = { name: 'Sluice', version: VERSION, ...LINKS };
  return routesOf(startOperations, null, {
    'get /': (ctx) => {
      ctx.vary('Accept');
      if (prefersJson(ctx)) {
        ctx.body = start;
        return;
      }
      ctx.set('Content-Security-Policy', POLICY);
      ctx.type = 'html';
      ctx.body = html;
    },
    'get /v1': (ctx) => {
      ctx.body = {
        version: VERSION,
        openapi: LINKS.openapi,
        resources: Object.fromEntries(resources.map(({ name, path }) => [name, path])),
      };
    },
  });
}

function prefersJson(ctx: Context): boolean {
  return ctx.accepts('html', 'json') === 'json';
}

/** A resource is what stands right below `/v1`. */
function resourcesOf({ paths }: DescribedPaths): Resource[] {
  return Object.entries(paths).flatMap(([path, operations]) => {
    const [, noun] = /^\/v1\/([a-z-]+)$/.exec(path) ?? [];
    const summary = (operations.get ?? Object.values(operations)[0])?.summary;
    if (noun === undefined || summary === undefined) return [];
    const name = noun.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
    return { name, path, summary };
  });
}

function pageOf(resources: readonly Resource[]): string {
  const rows = resources.map(
    ({ path, summary }) => `<tr><td><code>${path}</code></td><td>${escapeHtml(summary)}</td></tr>`,
  );
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Sluice</title><style>${STYLE}</style></head>
<body>
<h1>Sluice ${VERSION}</h1>
<p>This is the API of Sluice, which runs inference jobs through a queue.</p>
<ul>
<li><a href="${LINKS.openapi}">${LINKS.openapi}</a> describes every call.</li>
<li><a href="${LINKS.api}">${LINKS.api}</a> lists the resources for programs.</li>
<li><a href="${LINKS.livez}">${LINKS.livez}</a> tells whether it runs, <a href="${LINKS.readyz}">${LINKS.readyz}</a> whether it
takes requests.</li>
</ul>
<p>The resources ask for an API key, in the header <code>Authorization: Bearer slk_…</code></p>
<table>
${rows.join('\n')}
</table>
</body>
</html>
`;
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);
}
