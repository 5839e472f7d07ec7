/**
 * The documents say what is there: links and commands exist, and tables are equal to those of the code.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { expect, it } from 'vitest';
import { COMMAND_VARIABLES } from '../shared/contract/config.js';
import { ERRORS } from '../shared/contract/errors.js';
import { VARIABLES } from '../shared/contract/variables.js';
import { CLASSES } from '../shared/model-packages/saved-model/operation-table.js';
import { readAlerts } from './support/scraped-metrics.js';

const ROOT = new URL('../', import.meta.url).pathname;
const text = (file: string) => readFileSync(join(ROOT, file), 'utf8');

const files = ['.', 'api', 'worker', 'shared', 'deploy', 'test'].flatMap((folder) =>
  readdirSync(join(ROOT, folder), { recursive: folder !== '.', encoding: 'utf8' }).map((name) =>
    join(folder, name),
  ),
);
// The results of benches are written by programs.
const documents = files.filter((file) => file.endsWith('.md') && !file.startsWith('test/bench/results/'));
const sources = files.filter((file) => file.endsWith('.ts'));

it.each(documents)('%s links to what is there', (file) => {
  for (const [, target = ''] of text(file).matchAll(/\]\(([^)\s]+)\)/g)) {
    if (/^https?:/.test(target)) continue;
    const [path = '', anchor] = target.split('#');
    const linked = path === '' ? file : join(dirname(file), path);
    expect(existsSync(join(ROOT, linked)), `${target} in ${file}`).toBe(true);
    if (anchor !== undefined) expect(anchorsOf(linked), `${target} in ${file}`).toContain(anchor);
  }
});

/** Returns the anchors that a renderer such as GitHub's gives to the headings of `file`. */
function anchorsOf(file: string): string[] {
  return [...text(file).matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\w\- ]/g, '')
      .replaceAll(' ', '-'),
  );
}

it.each(documents)('%s names files and folders that are there', (file) => {
  for (const [, path = ''] of text(file).matchAll(/`([\w./-]+(?:\.(?:ts|lua|md)|\/))`/g)) {
    // Folders that programs make.
    if (/^(?:\.|dist\/|results\/)/.test(path)) continue;
    // The glossary names files of any folder; another test checks them.
    if (file === 'ARCHITECTURE.md' && !path.includes('/')) continue;
    const places = [join(dirname(file), path), path];
    expect(
      places.some((place) => existsSync(join(ROOT, place))),
      `${path} in ${file}`,
    ).toBe(true);
  }
});

it.each(documents)('%s names commands that package.json has', (file) => {
  const { scripts } = JSON.parse(text('package.json'));
  for (const [, name = ''] of text(file).matchAll(/(?:^|`|&& |exec )npm (?:run )?([a-z]+(?::[a-z]+)*)/gm))
    if (!['ci', 'install', 'version', 'sbom'].includes(name))
      expect(Object.keys(scripts), `npm run ${name} in ${file}`).toContain(name);
});

const readmes = documents.filter((file) => file.endsWith('/README.md'));
const longLines = (file: string) =>
  text(file)
    .split('\n')
    .filter((line) => line.length > 160).length;

it.each(readmes)('%s is a page of 60 lines at most', (file) => {
  expect(text(file).trimEnd().split('\n').length).toBeLessThanOrEqual(60);
});

it.each(['README.md', ...readmes])('%s has ten long lines at most', (file) => {
  expect(longLines(file)).toBeLessThanOrEqual(10);
});

it('documents every variable and every error code in the words of the code, and none besides', () => {
  const variables = [
    ...text('deploy/configuration.md').matchAll(/^\| `([A-Z][A-Z_]+)` +\|(?:[^|]*\|)? (.*?) +\|$/gm),
  ];
  expect(variables.map(([, name, meaning]) => [name, meaning])).toEqual(
    Object.entries({ ...VARIABLES, ...COMMAND_VARIABLES }).map(([name, { description }]) => [
      name,
      description,
    ]),
  );
  const codes = [
    ...text('api/errors.md').matchAll(/^\| `([a-z_]+)` +\| (\d+) +\| (yes|no) +\| (.*?) +\|$/gm),
  ];
  expect(codes.map(([, code, status, retryable, meaning]) => [code, status, retryable, meaning])).toEqual(
    Object.entries(ERRORS).map(([code, { status, retryable, title }]) => [
      code,
      String(status),
      retryable ? 'yes' : 'no',
      title,
    ]),
  );
});

it('tells the class of operations that the code knows, and how many there are', () => {
  const guide = text('deploy/guides/operations.md');
  const rows = [...guide.matchAll(/^\| `(\w+)` +\| (.*?) +\| .*? +\| (.*?) +\| +(\d+) \|$/gm)];
  const table = text('shared/model-packages/saved-model/operations.tsv').split('\n');
  const told = (of: string, { in: parts }: { in: readonly string[] }) => {
    if (parts.includes('signature')) return 'served';
    if (of === 'chance' || of === 'writes') return 'served with `stateful: allow`';
    if (parts.length === 0) return 'refused';
    return parts.join() === 'idle' ? 'where it never runs' : 'while it loads';
  };
  expect(rows.map(([, ...cells]) => cells)).toEqual(
    Object.entries(CLASSES).map(([of, rights]) => [
      of,
      rights.what,
      told(of, rights),
      String(table.filter((line) => line.endsWith(`\t${of}`)).length),
    ]),
  );
  for (const [op, of] of table.slice(1, -1).map((line) => line.split('\t')))
    expect(Object.hasOwn(CLASSES, of ?? ''), op).toBe(true);
});

it('gives each decision an id of its own, and refers to none that is missing', () => {
  const ids = documents
    .filter((file) => file.endsWith('decisions.md'))
    .flatMap((file) => [...text(file).matchAll(/^#+ ([A-Z]{3}-\d+)\. /gm)].map(([, id]) => id));
  expect(ids.filter((id, index) => ids.indexOf(id) !== index)).toEqual([]);
  const series = [...new Set(ids.map((id) => id?.slice(0, 3)))];
  const reference = new RegExp(`\\b(?:${series.join('|')})-\\d+\\b`, 'g');
  for (const file of [...documents, ...sources])
    for (const [id] of text(file).matchAll(reference)) expect(ids, `${id} in ${file}`).toContain(id);
});

it('shows every folder of the code in ARCHITECTURE.md, and none besides', () => {
  const [, tree = ''] = /## The rooms\n[\s\S]*?```\n([\s\S]*?)```/.exec(text('ARCHITECTURE.md')) ?? [];
  const path: string[] = [];
  const shown = [...tree.matchAll(/^( *)([\w-]+)\/ /gm)].map(([, indent = '', name = '']) => {
    path.splice(indent.length / 2, path.length, name);
    return path.join('/');
  });
  const withParents = (folder: string): string[] =>
    folder === '.' ? [] : [folder, ...withParents(dirname(folder))];
  const folders = files
    .filter((file) => /\.(ts|lua)$/.test(file))
    .flatMap((file) => withParents(dirname(file)));
  expect(shown.toSorted()).toEqual([...new Set(folders)].sort());
});

it('names files in the glossary that are there', () => {
  const [, glossary = ''] = text('ARCHITECTURE.md').split('## The words');
  const named = [...glossary.matchAll(/^\|.*\| `([\w-]+\.ts)` +\|$/gm)].map(([, name]) => name);
  expect(named.length).toBeGreaterThan(40);
  const names = new Set(sources.map((file) => basename(file)));
  expect(named.filter((name) => !names.has(name ?? ''))).toEqual([]);
});

it('shows no shell command in README.md that the quickstart test does not run', () => {
  const blocks = (part: string) => part.match(/```sh\n/g)?.length ?? 0;
  const [, start = ''] = text('README.md').split('## Five minutes to a result\n');
  expect(blocks(text('README.md'))).toBe(2);
  expect(blocks(start.split('\n## ')[0] ?? '')).toBe(2);
});

it('tells the price of each decision', () => {
  const silent = documents
    .filter((file) => file.endsWith('decisions.md'))
    .flatMap((file) => text(file).split(/^#+ (?=[A-Z]{3}-\d+\. )/m))
    .filter((part) => /^[A-Z]{3}-\d+\. /.test(part) && !/\bPrice:\s/.test(part));
  expect(silent).toEqual([]);
});

it('has a page, a line in the table and a test for each alert, and none besides', () => {
  const names = readAlerts().map(({ alert, annotations }) => {
    expect(annotations.runbook).toBe(`deploy/monitoring/runbooks/${alert}.md`);
    return alert;
  });
  const pages = readdirSync(join(ROOT, 'deploy/monitoring/runbooks')).map((file) => file.replace('.md', ''));
  expect(pages.sort()).toEqual([...names].sort());
  const listed = [...text('deploy/monitoring/README.md').matchAll(/^\| \[(\w+)\]/gm)].map(([, name]) => name);
  expect(listed.sort()).toEqual([...names].sort());
  const tested = new Set(text('test/alerts/sluice.test.yaml').match(/(?<=alertname: )\w+/g));
  expect([...tested].sort()).toEqual([...names].sort());
});
