import {
  existsSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parse } from 'yaml';
import { type Simulator, startSimulator } from '../../simulator/start.ts';
import { type Host, makeHost } from '../program.ts';
import { runHere } from '../run-here.ts';

let pve: Simulator;
let host: Host;
let config: string;
beforeAll(async () => {
  pve = await startSimulator({
    guests: 12,
    world: {
      guests: [
        {
          vmid: 150,
          kind: 'qemu',
          running: true,
          config: { name: 'waiting', memory: '512', cores: 2, description: 'a\nb' },
          pending: { memory: '1024' },
        },
      ],
    },
  });
  host = makeHost(pve);
  host.write('desired.yaml', 'version: 1\nguests: {}\n');
  config = host.configure({});
});
afterAll(async () => {
  host.remove();
  await pve.stop();
});

function adopt(...args: string[]): ReturnType<typeof runHere> {
  return runHere('adopt', '--config', config, ...args);
}

test('all guests adopted, a plan right after is empty and the document is valid', async () => {
  const file = join(host.dir, 'desired.yaml');
  const adopted = await adopt('--all', '--to', file);
  expect(adopted).toMatchObject({ exit: 0, out: `13 guests written to ${file}\n` });
  expect(adopted.err).toBe('left out: 150 memory: a change of it waits for the next start\n');
  const plan = await runHere('plan', '--json', '--config', config);
  expect(plan).toMatchObject({ exit: 0, err: '' });
  const { summary } = JSON.parse(plan.out) as { summary: { guests: number; status: object } };
  expect(summary).toMatchObject({ guests: 13, status: { in_sync: 13 } });
  expect((await runHere('validate', file)).exit).toBe(0);
  expect(statSync(file).mode & 0o777).toBe(0o600);
  host.write('desired.yaml', 'version: 1\nguests: {}\n');
});

test('one guest is written as a person would: names, numbers, no MAC, tags on one line', async () => {
  const { out, exit } = await adopt('web-1');
  expect(out).toBe(`version: 1
guests:
  100:
    kind: qemu
    name: web-1
    power: running
    config:
      boot: order=scsi0
      cores: 1
      memory: 512
      net0: virtio,bridge=vmbr0
      onboot: false
      ostype: l26
      scsihw: virtio-scsi-single
      tags: [ prod, web ]
`);
  expect(exit).toBe(0);
});

test('a document that is extended keeps its comments, order and other guests', async () => {
  const file = host.write(
    'kept.yaml',
    `# the office
version: 1
guests:
  # do not touch
  999: { power: unmanaged } # gone soon
`,
    0o640,
  );
  expect((await adopt('200', '--observe', '--to', file)).exit).toBe(0);
  const text = readFileSync(file, 'utf8');
  expect(text).toMatch(/^# the office\nversion: 1\nguests:\n {2}# do not touch\n {2}999: /);
  expect(text).toContain('# gone soon\n');
  expect(parse(text)).toMatchObject({
    guests: { 999: { power: 'unmanaged' }, 200: { kind: 'lxc', mode: 'observe' } },
  });
  expect(statSync(file).mode & 0o777).toBe(0o640);
  rmSync(file);
});

test.each([
  ['that is there', (file: string) => writeFileSync(file, 'version: 1\nguests: {}\n')],
  ['that is not there yet', () => undefined],
])('a link is followed to the document %s, and stays a link', async (_name, make) => {
  const target = join(host.dir, 'target.yaml');
  make(target);
  const link = join(host.dir, 'link.yaml');
  symlinkSync('target.yaml', link);
  expect((await adopt('101', '--to', link)).exit).toBe(0);
  expect(readlinkSync(link)).toBe('target.yaml');
  expect(readFileSync(target, 'utf8')).toContain('\n  101:\n');
  rmSync(link);
  rmSync(target);
});

test('a JSON document stays JSON', async () => {
  const file = host.write('more.json', '{"version":1,"guests":{}}');
  expect((await adopt('101', '--to', file)).exit).toBe(0);
  const { guests } = JSON.parse(readFileSync(file, 'utf8')) as { guests: object };
  expect(guests).toHaveProperty('101.config.cores');
  rmSync(file);
});

test.each([
  ['a guest that is desired already', ['100'], 'conflict', 1],
  ['a guest that is not there', ['nosuch'], 'not_found', 1],
  ['nobody named', [], 'invalid_request', 64],
  ['an invalid document to extend', ['101', '--to', 'BAD'], 'desired_invalid', 65],
])('%s is refused and nothing is written', async (_name, args, code, exit) => {
  const desired = 'version: 1\nguests: { 100: { power: running } }\n';
  host.write('desired.yaml', desired);
  const bad = host.write('bad.yaml', 'version: 1\nguests: { 100: { pwer: running } }\n');
  const ended = await adopt(...args.map((arg) => (arg === 'BAD' ? bad : arg)));
  expect(ended.err).toContain(`error [${code}]`);
  expect(ended).toMatchObject({ exit, out: '' });
  expect(readFileSync(join(host.dir, 'desired.yaml'), 'utf8')).toBe(desired);
  host.write('desired.yaml', 'version: 1\nguests: {}\n');
});

test.each([
  ['all guests', ['--all']],
  ['a guest by its name', ['web-1']],
])(
  'while a document is refused %s cannot be adopted: it may claim any of them',
  async (_name, args) => {
    host.write('desired.yaml', 'version: 1\nguests: { 100: { pwer: running } }\n');
    const target = join(host.dir, 'new.yaml');
    const ended = await adopt(...args, '--to', target);
    expect(ended).toMatchObject({ exit: 65, out: '' });
    expect(ended.err).toContain(`error [desired_invalid] ${join(host.dir, 'desired.yaml')}:2:`);
    expect(existsSync(target)).toBe(false);
    host.write('desired.yaml', 'version: 1\nguests: {}\n');
  },
);

test('the document that the configuration names need not be there yet', async () => {
  const file = join(host.dir, 'desired.yaml');
  rmSync(file);
  expect(await adopt('101', '--to', file)).toMatchObject({ exit: 0 });
  expect((await runHere('validate', file)).exit).toBe(0);
  host.write('desired.yaml', 'version: 1\nguests: {}\n');
});
