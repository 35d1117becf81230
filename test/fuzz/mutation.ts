/**
 * The next input, made of those that led somewhere. Text is changed as text; a line that is JSON is
 * mostly changed as a value, or nothing would ever come past the parser.
 */
import type { Random } from '../../src/reconcile/clock.ts';

const INPUT_MAX_BYTES = 64 * 1024;
const STEPS_MAX = 6;
const REPEATS_MAX = 1_000;
/** Ends of ranges, and what a language takes for something else. */
const ODD_NUMBERS = [
  0,
  -0,
  -1,
  1,
  99,
  100,
  0.5,
  1e21,
  1e308,
  -(2 ** 31),
  2 ** 31,
  2 ** 53,
  2 ** 64,
];
const ODD_TEXTS = [
  '',
  ' ',
  '0',
  '-1',
  '1e9',
  '__proto__',
  'constructor',
  'toString',
  '\0',
  '\u2028',
];
const ODD_VALUES = [
  ...ODD_NUMBERS,
  ...ODD_TEXTS,
  null,
  true,
  false,
  [],
  {},
  '\ud800',
  'é'.repeat(40),
];

export interface Material {
  readonly corpus: readonly Buffer[];
  readonly words: readonly string[];
  readonly random: Random;
}

export function mutate(input: Buffer, material: Material): Buffer {
  const steps = 1 + Math.floor(material.random.next() ** 2 * STEPS_MAX);
  let next = input;
  for (let step = 0; step < steps; step++) {
    next = (pick(material, [mutateJsonLine, mutateJsonLine, mutateText]) ?? mutateText)(
      next,
      material,
    );
  }
  return next.subarray(0, INPUT_MAX_BYTES);
}

function pick<Item>({ random }: Material, items: readonly Item[]): Item | undefined {
  return items[Math.floor(random.next() * items.length)];
}

function below(count: number, { random }: Material): number {
  return Math.floor(random.next() * count);
}

/** Any piece of an input, mostly a short one. */
function slice(
  input: Buffer,
  material: Material,
): { readonly start: number; readonly end: number } {
  const start = below(input.length + 1, material);
  const length = Math.floor(material.random.next() ** 4 * (input.length - start + 1));
  return { start, end: start + length };
}

function mutateText(input: Buffer, material: Material): Buffer {
  const { start, end } = slice(input, material);
  const put = (...middle: readonly (Buffer | string)[]): Buffer =>
    Buffer.concat([
      input.subarray(0, start),
      ...middle.map((part) => Buffer.from(part)),
      input.subarray(end),
    ]);
  const piece = input.subarray(start, end);
  const other = pick(material, material.corpus) ?? input;
  const theirs = slice(other, material);
  switch (below(7, material)) {
    case 0:
      return put();
    case 1:
      return put(pick(material, material.words) ?? '');
    case 2:
      return put(JSON.stringify(pick(material, ODD_VALUES)) ?? '');
    case 3:
      return put(other.subarray(theirs.start, theirs.end));
    case 4:
      return put(piece, piece);
    case 5:
      return put(...Array<Buffer>(below(REPEATS_MAX, material)).fill(piece.subarray(0, 16)));
    default:
      return put(Buffer.from([below(256, material)]));
  }
}

function mutateJsonLine(input: Buffer, material: Material): Buffer {
  const lines = input.toString('utf8').split('\n');
  const index = below(lines.length, material);
  const value = parseJson(lines[index] ?? '');
  if (value === undefined) return mutateText(input, material);
  const others = (pick(material, material.corpus) ?? input).toString('utf8').split('\n');
  const other = parseJson(pick(material, others) ?? '');
  const nodes = [...nodesOf(other ?? value)];
  const line = JSON.stringify(mutateValue(value, { ...material, nodes })) ?? '';
  return Buffer.from(lines.with(index, line).join('\n'));
}

function parseJson(text: string): unknown {
  if (!/^[[{]/.test(text)) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return value;
  } catch {
    return undefined;
  }
}

function* nodesOf(value: unknown): Generator {
  yield value;
  if (typeof value !== 'object' || value === null) return;
  for (const child of Object.values(value)) yield* nodesOf(child);
}

type JsonMaterial = Material & { readonly nodes: readonly unknown[] };

/** The same value with one node of it changed. */
function mutateValue(value: unknown, material: JsonMaterial): unknown {
  const isInner = typeof value === 'object' && value !== null && Object.keys(value).length > 0;
  if (!isInner || below(8, material) === 0) return mutateNode(value, material);
  const entries = Object.entries(value);
  const index = below(entries.length, material);
  const [key = '', child] = entries[index] ?? [];
  const next = below(6, material);
  if (next === 0) entries.splice(index, 1);
  else if (next === 1) entries.push([pick(material, material.words) ?? key, child]);
  else entries[index] = [key, mutateValue(child, material)];
  return Array.isArray(value) ? entries.map(([, item]) => item) : Object.fromEntries(entries);
}

function mutateNode(value: unknown, material: JsonMaterial): unknown {
  switch (below(6, material)) {
    case 0:
      return pick(material, material.words);
    case 1:
      return pick(material, material.nodes);
    case 2:
      return [value, value];
    case 3:
      return typeof value === 'number'
        ? value + below(5, material) - 2
        : pick(material, ODD_VALUES);
    case 4:
      return typeof value === 'string'
        ? mutateText(Buffer.from(value), material).toString('utf8')
        : JSON.stringify(value);
    default:
      return pick(material, ODD_VALUES);
  }
}
