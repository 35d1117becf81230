/** The shape of config.yaml (CONTRACT 3), as written: what it means is read in config.ts. */
import { hostname } from 'node:os';
import { z } from 'zod';
import { durationSchema, MODES, parseDurationMs } from '../../reconcile/desired.ts';
import { parseVmid } from '../../reconcile/ids.ts';
import { OP_KINDS } from '../../reconcile/op.ts';

const SIZE = /^(\d{1,12})(B|KiB|MiB|GiB)$/;
const UNIT_BYTES: Readonly<Record<string, number>> = {
  B: 1,
  KiB: 1024,
  MiB: 1024 ** 2,
  GiB: 1024 ** 3,
};

/** The bounds of the journal itself (src/journal/journal.ts). */
const SEGMENT_BYTES_MIN = 1024;
const SEGMENT_BYTES_MAX = 256 * 1024 ** 2;
/** Below this a pass would overlap the next one on a busy node. */
const INTERVAL_MIN_MS = 1000;
/** Timers count in 32 bits. */
const INTERVAL_MAX_MS = 24 * 3_600_000;

const name = z
  .string()
  .regex(
    /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$/,
    'expected a name of letters, digits, dots and dashes',
  );

const path = z.string().min(1, 'expected a path').max(4096);

const SIZE_EXPECTED = 'expected a size like 4KiB or 16MiB';
const size = z
  .string({ error: SIZE_EXPECTED })
  .regex(SIZE, SIZE_EXPECTED)
  .transform((text) => parseSize(text) ?? Number.NaN);

/** `4KiB`, `16MiB` in bytes, or null. */
function parseSize(text: string): number | null {
  const match = SIZE.exec(text);
  const bytes = Number(match?.[1]) * (UNIT_BYTES[match?.[2] ?? ''] ?? Number.NaN);
  return Number.isSafeInteger(bytes) ? bytes : null;
}

const durationMs = durationSchema.transform((text) => parseDurationMs(text) ?? Number.NaN);

const intervalMs = durationMs.refine(
  (ms) => ms >= INTERVAL_MIN_MS && ms <= INTERVAL_MAX_MS,
  'expected between 1s and 24h',
);

const url = z.string().refine(isNodeUrl, 'expected https://HOST:PORT and nothing more');

function isNodeUrl(text: string): boolean {
  const parsed = URL.parse(text);
  if (parsed === null || parsed.protocol !== 'https:') return false;
  return (
    parsed.username === '' &&
    parsed.password === '' &&
    parsed.pathname === '/' &&
    parsed.search === '' &&
    parsed.hash === ''
  );
}

const fingerprint = z
  .string()
  .regex(
    /^[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){31}$/,
    'expected a SHA-256 fingerprint, 32 pairs of hex digits with colons',
  )
  .transform((text) => text.toUpperCase());

export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

/** `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080`. */
function parseListen(text: string): ListenAddress | null {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9.-]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  return host !== undefined && port <= 65_535 ? { host, port } : null;
}

const LISTEN_EXPECTED = 'expected HOST:PORT';
const listen = z.string({ error: LISTEN_EXPECTED }).transform((text, context): ListenAddress => {
  const address = parseListen(text);
  if (address !== null) return address;
  context.addIssue(LISTEN_EXPECTED);
  return z.NEVER;
});

function isLoopback({ host }: ListenAddress): boolean {
  return host === 'localhost' || host === '::1' || /^127(?:\.\d{1,3}){3}$/.test(host);
}

const EVERY_ADDRESS = ['0.0.0.0', '::'];

/** Port 0 is whichever is free. */
function isTaken(address: ListenAddress | null, by: ListenAddress | null): boolean {
  if (address === null || by === null || address.port !== by.port || by.port === 0) return false;
  return address.host === by.host || EVERY_ADDRESS.includes(address.host);
}

const loopback = listen.refine(isLoopback, 'expected an address of the loopback: 127.0.0.1:PORT');

export interface VmidRange {
  readonly first: number;
  readonly last: number;
}

/** `100-199,300`. */
function parseVmids(text: string): VmidRange[] | null {
  const ranges: VmidRange[] = [];
  for (const part of text.split(',')) {
    const [from = '', to = from, ...more] = part.trim().split('-');
    const first = parseVmid(from);
    const last = parseVmid(to);
    if (first === null || last === null || first > last || more.length > 0) return null;
    ranges.push({ first, last });
  }
  return ranges;
}

const VMIDS_EXPECTED = 'expected vmids like "100-199,300"';
const vmids = z.string({ error: VMIDS_EXPECTED }).transform((text, context): VmidRange[] => {
  const ranges = parseVmids(text);
  if (ranges !== null) return ranges;
  context.addIssue(VMIDS_EXPECTED);
  return z.NEVER;
});

const unsigned = z.enum(['none', 'benign', 'disruptive']);

const instantMs = z.iso
  .datetime({ offset: true, error: 'expected a time like 2027-01-31T00:00:00Z' })
  .transform((text) => Date.parse(text));

const hubUrl = z.string().refine(isHubUrl, 'expected https://HOST[:PORT][/PATH] and nothing more');

function isHubUrl(text: string): boolean {
  const parsed = URL.parse(text);
  if (parsed === null || parsed.protocol !== 'https:') return false;
  return parsed.username + parsed.password + parsed.search + parsed.hash === '';
}

/** The hub this agent dials; without it ops come in through the control API alone. */
const hub = z
  .strictObject({
    url: hubUrl,
    ca_file: path.exactOptional(),
    fingerprint: fingerprint.exactOptional(),
    server_name: z.string().min(1).nullable().default(null),
  })
  .refine((it) => (it.ca_file === undefined) !== (it.fingerprint === undefined), {
    message: 'expected either ca_file (or `ca_file: system`) or fingerprint',
  });

export const configSchema = z.strictObject({
  agent: name.exactOptional(),
  node: name.default(() => hostname().split('.')[0] ?? 'localhost'),
  proxmox: z
    .strictObject({
      url: url.default('https://127.0.0.1:8006'),
      token_file: path.default('/etc/pve-reconciler/token'),
      ca_file: path.exactOptional(),
      fingerprint: fingerprint.exactOptional(),
      server_name: z.string().min(1).nullable().default(null),
    })
    .refine((it) => it.ca_file === undefined || it.fingerprint === undefined, {
      message: 'expected ca_file or fingerprint, found both',
    })
    .prefault({}),
  state_dir: path.default('/var/lib/pve-reconciler'),
  journal: z
    .strictObject({
      segment_bytes: size
        .refine(
          (bytes) => bytes >= SEGMENT_BYTES_MIN && bytes <= SEGMENT_BYTES_MAX,
          'expected between 1KiB and 256MiB',
        )
        .prefault('16MiB'),
      keep_segments: z.int().min(1).max(100_000).default(64),
      keep_for: durationMs.prefault('90d'),
    })
    .prefault({}),
  control: z
    .strictObject({
      socket: path.default('/run/pve-reconciler/agent.sock'),
      listen: loopback.nullable().default(null),
      public: listen.nullable().default(null),
    })
    .refine(({ listen: inner, public: outer }) => !isTaken(outer, inner), {
      path: ['public'],
      message: 'expected another port than that of control.listen',
    })
    .prefault({}),
  desired: z
    .array(z.strictObject({ file: path }))
    .max(64)
    .default([]),
  reconcile: z
    .strictObject({
      mode: z.enum(MODES).default('enforce'),
      interval: intervalMs.prefault('30s'),
      config_interval: intervalMs.prefault('5m'),
      max_parallel: z.int().min(1).max(64).default(4),
    })
    .prefault({}),
  policy: z
    .strictObject({
      unsigned: unsigned.default('benign'),
      operator: unsigned.default('disruptive'),
      irreversible_signatures: z.int().min(1).max(16).default(2),
    })
    .prefault({}),
  signers: z
    .array(
      z.strictObject({
        keyid: z.string().min(1).max(128),
        public_key_file: path,
        not_after: instantMs.exactOptional(),
        allow: z.strictObject({ kinds: z.array(z.enum(OP_KINDS)).min(1), vmids }),
      }),
    )
    .max(256)
    .default([]),
  hub: hub.nullable().default(null),
  look: z
    .strictObject({
      mirror: path.default('/run/pve-reconciler/look'),
      qemu_run: path.default('/run/qemu-server'),
      cgroup: path.default('/sys/fs/cgroup'),
    })
    .prefault({}),
});
