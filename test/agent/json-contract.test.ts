/**
 * docs/CLI.md and what the commands really print with `--json`, field by field: nothing is printed
 * that is not documented, and nothing is documented that is not printed.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import {
  guestDocument,
  opDocument,
  pauseDocument,
  planDocumentSchema,
} from '../../src/agent/control/documents.ts';
import { type Simulator, startSimulator } from '../simulator/start.ts';
import { type Host, makeHost, startDaemon } from './program.ts';
import { runHere } from './run-here.ts';

const DOCS = readFileSync(new URL('../../docs/CLI.md', import.meta.url), 'utf8');

/** What is data, a contract of its own, or the journal's: only its name is of the contract. */
const OPAQUE = new Set(['params', 'records', 'document', 'observed', 'signed_receipt']);

interface Section {
  readonly example: unknown;
  /** Field names that the text beside the example mentions. */
  readonly mentioned: ReadonlySet<string>;
}

function sectionOf(command: string): Section {
  const start = DOCS.indexOf(`\`${command} --json\``);
  const heading = DOCS.lastIndexOf('\n### ', start);
  const end = DOCS.indexOf('\n##', heading + 5);
  const text = DOCS.slice(heading, end === -1 ? undefined : end);
  const json = /```json\n([^]*?)```/.exec(text)?.[1] ?? 'null';
  const prose = text.replaceAll(/```[^]*?```/g, '');
  const names = [...prose.matchAll(/`[^`]*`/g)].flatMap(([code]) => code.match(/\w+/g) ?? []);
  return { example: JSON.parse(json), mentioned: new Set(names) };
}

/** Paths of all fields: `guests[].power.desired`. */
function fieldsOf(value: unknown, path = ''): string[] {
  if (Array.isArray(value)) return value.flatMap((each) => fieldsOf(each, `${path}[]`));
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, inner]) => {
    const own = path === '' ? name : `${path}.${name}`;
    return OPAQUE.has(name) ? [own] : [own, ...fieldsOf(inner, own)];
  });
}

/** Paths whose value holds nothing here, so that what would be below it cannot be seen. */
function emptyIn(value: unknown, path = ''): string[] {
  if (value === null || (Array.isArray(value) && value.length === 0)) return [path];
  if (Array.isArray(value)) return value.flatMap((each) => emptyIn(each, `${path}[]`));
  if (typeof value !== 'object') return [];
  return Object.entries(value).flatMap(([name, inner]) =>
    emptyIn(inner, path === '' ? name : `${path}.${name}`),
  );
}

function compare(printed: unknown, { example, mentioned }: Section): void {
  const real = new Set(fieldsOf(printed));
  const documented = new Set(fieldsOf(example));
  const unseen = emptyIn(printed);
  const last = (path: string): string => path.slice(path.lastIndexOf('.') + 1);
  const undocumented = [...real].filter(
    (path) => !documented.has(path) && !mentioned.has(last(path)),
  );
  const missing = [...documented].filter(
    (path) => !real.has(path) && !unseen.some((empty) => empty !== '' && path.startsWith(empty)),
  );
  expect({ undocumented, missing }).toEqual({ undocumented: [], missing: [] });
}

function guestOf(status: unknown): unknown {
  return (status as { guests: unknown[] }).guests[0];
}

let node: Simulator;
let host: Host;
beforeAll(async () => {
  node = await startSimulator({ guests: 12, speed: 20 });
  host = makeHost(node);
  host.write('desired.yaml', {
    version: 1,
    guests: {
      100: { power: 'running', config: { cores: 7 } },
      102: { power: 'running' },
    },
  });
});
afterAll(async () => {
  host.remove();
  await node.stop();
});

async function printed(...args: string[]): Promise<unknown> {
  const { out, err } = await runHere(...args, '--json', '--config', host.configFile);
  try {
    return JSON.parse(out);
  } catch {
    throw new Error(`${args.join(' ')}: ${out}${err}`);
  }
}

test('what each command prints is what docs/CLI.md has', async () => {
  const bad = host.write('bad.yaml', 'version: 1\nguests: { 101: { power: runing } }\n');
  const [plan, invalid, keys, adopt] = await Promise.all([
    printed('plan'),
    printed('validate', bad),
    printed('keys', 'generate', 'hub-1', '--out', host.dir),
    printed('adopt', '101'),
  ]);
  compare(plan, sectionOf('plan'));
  compare(invalid, sectionOf('validate'));
  compare(keys, sectionOf('keys generate'));
  compare(adopt, sectionOf('adopt'));

  compare(await printed('agent', '--once'), sectionOf('plan'));
  const [status, list, verified, doctor] = await Promise.all([
    printed('status'),
    printed('ops', 'list'),
    printed('journal', 'verify'),
    printed('doctor'),
  ]);
  compare(status, sectionOf('status'));
  compare(list, sectionOf('ops list'));
  compare(verified, sectionOf('journal verify'));
  compare(doctor, sectionOf('doctor'));
  const { ops } = list as { ops: { op_id: string }[] };
  const op = await printed('ops', 'show', ops[0]?.op_id ?? '');
  compare({ ops: [op] }, sectionOf('ops show'));
});

test('so are the answers of a running agent, and what is read and repaired of its journal', async () => {
  const agent = startDaemon(host.configFile);
  onTestFinished(async () => {
    await agent.end('SIGKILL');
  });
  await agent.saw(/agent is up/);
  const shown = sectionOf('ops show');
  const op = await printed('guest', 'start', '101', '--wait');
  compare({ ops: [op] }, shown);
  const { op_id: opId } = op as { op_id: string };
  compare({ ops: [await printed('ops', 'wait', opId)] }, shown);
  const status = sectionOf('status');
  const oneGuest = { ...status, example: guestOf(status.example) };
  compare(await printed('guest', 'hold', '101', '--for', '1h'), oneGuest);
  compare(await printed('guest', 'resume', '101'), oneGuest);
  compare(await printed('pause', '--for', '1h'), sectionOf('pause'));
  compare(await printed('resume'), sectionOf('pause'));

  const lines = async (...args: string[]): Promise<string[]> =>
    (await runHere(...args, '--json', '--config', host.configFile)).out.trim().split('\n');
  const folder = join(host.dir, 'state/journal');
  const onDisk = readFileSync(join(folder, '00000001.jsonl'), 'utf8').trim().split('\n');
  const ofOp = onDisk.filter((line) => line.includes(opId) && line.startsWith('{"type":"op"'));
  expect(await lines('ops', 'log', opId)).toEqual(ofOp);
  expect(onDisk).toEqual(expect.arrayContaining(await lines('journal', 'tail')));
  const key = (await printed('keys', 'show')) as object;
  expect(Object.keys(key)).toEqual(['agent', 'key_sha256', 'public_key_pem']);
  for (const field of Object.keys(key)) expect(sectionOf('keys show').mentioned).toContain(field);

  expect(await agent.end('SIGTERM')).toBe(0);
  const damaged = onDisk.map((line) =>
    line === ofOp.at(-1) ? line.replace('succeeded', 'Succeeded') : line,
  );
  writeFileSync(join(folder, '00000001.jsonl'), `${damaged.join('\n')}\n`);
  const repaired = await printed('journal', 'repair');
  compare(repaired, sectionOf('journal repair'));
  expect(repaired).toMatchObject({ left_out: [{ segment: '00000001.jsonl' }] });
  expect(await printed('journal', 'repair')).toEqual({ repaired: false });
});

describe('what the OpenAPI document has is what docs/CLI.md has', () => {
  const shapes: readonly (readonly [
    string,
    Record<string, unknown>,
    (json: unknown) => unknown,
  ])[] = [
    ['plan', planDocumentSchema.shape, (json) => json],
    ['status', guestDocument.shape, guestOf],
    ['ops list', opDocument.shape, (json) => (json as { ops: unknown[] }).ops[0]],
    ['pause', pauseDocument.shape, (json) => json],
  ];
  test.each(shapes)('%s', (command, shape, read) => {
    const { example, mentioned } = sectionOf(command);
    const documented = new Set(Object.keys(read(example) as object));
    for (const name of mentioned) if (name in shape) documented.add(name);
    expect([...documented].toSorted()).toEqual(Object.keys(shape).toSorted());
  });
});
