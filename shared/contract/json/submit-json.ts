/**
 * Parsing bodies that submit jobs. Most of such a body is the numbers of its `instances`: they are read straight from the bytes
 * into grids, and JSON.parse is given the rest.
 *
 * Promises: the value equals that of `parseJson`, but that number grids stand in `instances`: for an instance, or for a value that
 * an instance names. A body that is refused is refused in the same words. Numbers that are nested in any other way, or stand
 * beside anything else, stay where they are, and JSON.parse makes arrays of them.
 */
import { type ParsedJson, parseJsonOfParts } from './json.js';
import { isSpace, skipSpace, skipValue, walkArray, walkObject } from './json-text.js';
import { type NumberGrid, readGrid } from './number-grid.js';
import { NumberReader } from './number-reader.js';

const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
/** Stands for instances that were cut out. */
const NOTHING = Buffer.from('[]');
/** Names of other characters are left to JSON.parse, which decodes them. */
const PLAIN_NAME = /^[\x20-\x7e]+$/;

/** Instances that were cut out of a body: where they stood, and in which item of `jobs`; null for the body itself. */
interface Cut {
  start: number;
  end: number;
  job: number | null;
  instances: unknown[];
}

/** Parses the body of a submit: `{"model": …, "instances": […]}`. Arguments and errors are those of `parseJson`. */
export function parseSubmit(bytes: Buffer, maxDepth: number, subject: string): ParsedJson {
  return parseRest(bytes, maxDepth, subject, (cutter, at) => cutter.cutSubmit(at, 1, null));
}

/** Parses the body of a bulk submit, `{"jobs": [<submit>, …]}`, in the same way. */
export function parseBulkSubmit(bytes: Buffer, maxDepth: number, subject: string): ParsedJson {
  return parseRest(bytes, maxDepth, subject, (cutter, at) => cutter.cutBulk(at));
}

function parseRest(
  bytes: Buffer,
  maxDepth: number,
  subject: string,
  cut: (cutter: Cutter, at: number) => number,
): ParsedJson {
  const cuts = cutAll(bytes, maxDepth, cut);
  const rest = cuts.length > 0 ? without(bytes, cuts) : bytes;
  try {
    const parsed = parseJsonOfParts(rest, maxDepth, subject);
    putBack(parsed.value, cuts);
    return parsed;
  } catch (error) {
    if (rest === bytes) throw error;
    // A fault tells its place, which must be that in the whole body.
    return parseJsonOfParts(bytes, maxDepth, subject);
  }
}

/** Returns what `cut` cuts out, in the order of the bytes; nothing where it finds that the body is of another form. */
function cutAll(bytes: Buffer, maxDepth: number, cut: (cutter: Cutter, at: number) => number): Cut[] {
  // A number ends before the end of the bytes, as the reader demands.
  if (bytes[lastOf(bytes)] !== CLOSE_OBJECT) return [];
  const cutter = new Cutter(bytes, maxDepth);
  const end = cut(cutter, skipSpace(bytes, 0));
  return end < 0 ? [] : cutter.cuts;
}

class Cutter {
  readonly cuts: Cut[] = [];
  readonly #reader: NumberReader;

  constructor(
    readonly bytes: Buffer,
    readonly maxDepth: number,
  ) {
    this.#reader = new NumberReader(bytes);
  }

  /** Steps over the body of a bulk submit. */
  cutBulk(at: number): number {
    let isCut = false;
    return walkObject(this.bytes, at, (name, value) => {
      if (name !== 'jobs') return skipValue(this.bytes, value);
      if (isCut) return -1;
      isCut = true;
      return walkArray(this.bytes, value, (job, item) => {
        return this.bytes[item] === OPEN_OBJECT ? this.cutSubmit(item, 3, job) : skipValue(this.bytes, item);
      });
    });
  }

  /** Steps over the body of a submit; `depth` counts it and what it stands in. */
  cutSubmit(at: number, depth: number, job: number | null): number {
    let isCut = false;
    return walkObject(this.bytes, at, (name, start) => {
      if (name !== 'instances') return skipValue(this.bytes, start);
      // JSON.parse takes the last of two.
      if (isCut) return -1;
      isCut = true;
      const read = this.#readInstances(start, this.maxDepth - depth);
      if (!read) return skipValue(this.bytes, start);
      this.cuts.push({ start, job, ...read });
      return read.end;
    });
  }

  /** Returns instances of numbers alone and the place behind them, null for any others. */
  #readInstances(at: number, maxDepth: number): Pick<Cut, 'instances' | 'end'> | null {
    if (this.bytes[skipSpace(this.bytes, at + 1)] !== OPEN_OBJECT) {
      const read = this.#readGrid(at, maxDepth);
      return read && { instances: read.grid.items(), end: read.end };
    }
    const instances: unknown[] = [];
    const end = walkArray(this.bytes, at, (_, item) => {
      const instance: Record<string, NumberGrid> = {};
      instances.push(instance);
      return this.#readNamed(item, instance, maxDepth - 2);
    });
    return end < 0 ? null : { instances, end };
  }

  /** Reads an object of grids by name into `instance`, and returns the place behind it. */
  #readNamed(at: number, instance: Record<string, NumberGrid>, maxDepth: number): number {
    return walkObject(this.bytes, at, (name, value) => {
      const read = PLAIN_NAME.test(name) && name !== '__proto__' ? this.#readGrid(value, maxDepth) : null;
      if (!read) return -1;
      instance[name] = read.grid;
      return read.end;
    });
  }

  #readGrid(at: number, maxDepth: number): { grid: NumberGrid; end: number } | null {
    this.#reader.at = at;
    const grid = readGrid(this.#reader, maxDepth);
    return grid && { grid, end: this.#reader.at };
  }
}

/** Returns the bytes with nothing in the places of the cuts. */
function without(bytes: Buffer, cuts: readonly Cut[]): Buffer {
  const parts: Buffer[] = [];
  let from = 0;
  for (const { start, end } of cuts) {
    parts.push(bytes.subarray(from, start), NOTHING);
    from = end;
  }
  return Buffer.concat([...parts, bytes.subarray(from)]);
}

/** The cutter saw the form of the value, so it has the items and the fields that are asked for. */
function putBack(value: unknown, cuts: readonly Cut[]): void {
  const { jobs = [] } = value as { jobs?: { instances: unknown }[] };
  for (const { job, instances } of cuts) {
    const submit = job === null ? (value as { instances: unknown }) : jobs[job];
    if (submit) submit.instances = instances;
  }
}

function lastOf(bytes: Buffer): number {
  let last = bytes.length - 1;
  while (isSpace(bytes[last] as number)) last--;
  return last;
}
