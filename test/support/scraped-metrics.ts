/**
 * Metrics as Prometheus reads them, and the table that describes them.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse as parseYaml } from 'yaml';
import { ROOT } from './stack.js';

export interface Sample {
  /** The name, with the suffix of a histogram. */
  name: string;
  labels: Record<string, string>;
  value: number;
}

export interface Metric {
  type: string;
  help: string;
  samples: Sample[];
}

/** Reads the metrics of Sluice and leaves out those of Node.js. */
export async function scrape(port: number): Promise<Map<string, Metric>> {
  const response = await fetch(`http://127.0.0.1:${port}/metrics`);
  if (!response.ok) throw new Error(`/metrics answers ${response.status}`);
  const metrics = parse(await response.text());
  return new Map([...metrics].filter(([name]) => name.startsWith('sluice_')));
}

function parse(text: string): Map<string, Metric> {
  const metrics = new Map<string, Metric>();
  let metric: Metric = { type: '', help: '', samples: [] };
  for (const line of text.split('\n')) {
    const [, word, name = '', rest = ''] = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line) ?? [];
    if (word === 'HELP') {
      metric = { type: '', help: rest, samples: [] };
      metrics.set(name, metric);
    } else if (word === 'TYPE') metric.type = rest;
    else if (line !== '') metric.samples.push(parseSample(line));
  }
  return metrics;
}

function parseSample(line: string): Sample {
  const [, name = '', labels = '', value] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
  const pairs = [...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, key = '', text = '']) => [
    key,
    text,
  ]);
  return { name, labels: Object.fromEntries(pairs), value: Number(value) };
}

/** Returns the names of labels without that of a histogram's buckets. */
export function labelsOf({ samples }: Metric): string[] {
  const names = new Set(samples.flatMap(({ labels }) => Object.keys(labels)));
  return [...names].filter((name) => name !== 'le').sort();
}

/** Maps `name{label="value"}` to its value, without the buckets of histograms. */
export function valuesOf(metrics: ReadonlyMap<string, Metric>): Record<string, number> {
  const samples = [...metrics.values()].flatMap((metric) => metric.samples);
  return Object.fromEntries(
    samples
      .filter(({ labels }) => labels.le === undefined)
      .map(({ name, labels, value }) => {
        const pairs = Object.entries(labels).map(([key, text]) => `${key}="${text}"`);
        return [pairs.length > 0 ? `${name}{${pairs.join(',')}}` : name, value];
      }),
  );
}

export interface Row {
  name: string;
  type: string;
  labels: string[];
  servedBy: string[];
  help: string;
}

/** Reads the table of deploy/monitoring. */
export function readTable(): Row[] {
  const text = readFileSync(join(ROOT, 'deploy/monitoring/metrics.md'), 'utf8');
  return [...text.matchAll(/^\| `(sluice_\w+)` *\| (\w+) *\| ([^|]*)\| ([^|]*)\| ([^|]*)\|$/gm)].map(
    ([, name = '', type = '', labels = '', servedBy = '', help = '']) => ({
      name,
      type,
      labels: [...labels.matchAll(/`(\w+)`/g)].map(([, label = '']) => label).sort(),
      servedBy: servedBy.trim().split(', '),
      help: help.trim(),
    }),
  );
}

/** Returns the rules of the alerts. */
export function readAlerts(): { alert: string; expr: string; annotations: { runbook: string } }[] {
  const text = readFileSync(join(ROOT, 'deploy/monitoring/alerts/sluice.yaml'), 'utf8');
  return parseYaml(text).groups.flatMap(({ rules }: { rules: unknown[] }) => rules);
}
