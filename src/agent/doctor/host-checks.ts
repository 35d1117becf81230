/**
 * What the agent stands on at home: the state folder, its disk, the journal and its lock. Nothing
 * is kept: the one file written, to measure a sync, is removed again.
 */
import { existsSync, lstatSync, type Stats } from 'node:fs';
import { open, readdir, rm, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { readNewest } from '../../journal/newest.ts';
import { describeOwner, describeSelf, judgeOwner, readOwner } from '../../journal/owner.ts';
import { openReader } from '../../journal/reader.ts';
import { segmentName } from '../../journal/segments.ts';
import { createSignReader } from '../cheap-looks/host-signs.ts';
import type { Config } from '../config/config.ts';
import { describeIoError } from '../config/text-file.ts';
import { type Finding, failure, fromError, ok, warning } from './finding.ts';

const MIB = 1024 ** 2;
const SYNC_SAMPLES = 9;
const SYNC_BYTES = 4096;
/** Every step of an op waits for a sync or two: above this they are felt. */
const SYNC_WARNING_MS = 50;
/** What the clock may be behind the newest record before signatures and holds go wrong. */
const CLOCK_BACK_MS = 60_000;
/** The journal's own, beside its lock (src/journal/lock.ts). */

export async function hostFindings(config: Config): Promise<readonly Finding[]> {
  const { stateDir } = config;
  try {
    const stats = lstatSync(stateDir, { throwIfNoEntry: false });
    return stats === undefined ? [missingFinding(stateDir)] : await findingsIn(config, stats);
  } catch (error) {
    return [fromError('state_dir', error, 'the agent cannot keep its journal there')];
  }
}

function missingFinding(stateDir: string): Finding {
  return warning('state_dir', {
    message: `${stateDir} does not exist yet`,
    means: 'the first start makes it, if it may',
    fix: `systemctl start pve-reconciler, or: install -d -m 0700 -o pve-reconciler ${stateDir}`,
  });
}

async function findingsIn(config: Config, stats: Stats): Promise<readonly Finding[]> {
  const { stateDir } = config;
  const folder = folderFinding(stateDir, stats);
  if (!stats.isDirectory()) return [folder];
  const strange = await foreignFinding(stateDir, stats.uid);
  return [
    folder,
    ...(strange === null ? [] : [strange]),
    await spaceFinding(config),
    await syncFinding(stateDir),
    ...(await journalFindings(config)),
    lockFinding(stateDir),
  ];
}

function folderFinding(stateDir: string, stats: Stats): Finding {
  const mode = `0${(stats.mode & 0o7777).toString(8)}`;
  if (!stats.isDirectory()) {
    return failure('state_dir', {
      message: `${stateDir} is not a folder`,
      means: 'there is nowhere to keep the journal',
      fix: 'move it out of the way, or name another `state_dir`',
    });
  }
  if ((stats.mode & 0o077) !== 0) {
    return failure('state_dir', {
      message: `${stateDir} has mode ${mode}: others can get at it`,
      means: 'the agent refuses to start',
      fix: `chmod 0700 ${stateDir}`,
    });
  }
  const uid = process.geteuid?.() ?? 0;
  if (stats.uid !== uid && uid !== 0) {
    return failure('state_dir', {
      message: `${stateDir} belongs to uid ${stats.uid}, not to ${uid}`,
      means: 'only its owner may run the agent',
      fix: 'run as its owner, or as root',
    });
  }
  return ok('state_dir', `${stateDir} has mode ${mode} and belongs to uid ${stats.uid}`);
}

/** Put back from a backup as root, or left by a command that somebody ran as someone else. */
export async function foreignFinding(stateDir: string, uid: number): Promise<Finding | null> {
  // A folder of somebody else's may be closed to us: it is named all the same.
  const names = await readdir(stateDir, { recursive: true })
    .catch(() => readdir(stateDir))
    .catch(() => []);
  const foreign = names.filter((name) => {
    const stats = lstatSync(join(stateDir, name), { throwIfNoEntry: false });
    return stats !== undefined && stats.uid !== uid;
  });
  const [first] = foreign;
  if (first === undefined) return null;
  return failure('state_dir', {
    message: `${join(stateDir, first)} (${foreign.length} in all) belongs to somebody else`,
    means: 'the agent may not be able to read or write it',
    fix: `chown -R --reference=${stateDir} ${stateDir}`,
  });
}

async function spaceFinding({ stateDir, journal }: Config): Promise<Finding> {
  const { bavail, bsize } = await statfs(stateDir);
  const usedBytes = await sizeOf(join(stateDir, 'journal'));
  return judgeSpace({ stateDir, journal, freeBytes: bavail * bsize, usedBytes });
}

export function judgeSpace({
  stateDir,
  journal,
  freeBytes,
  usedBytes,
}: Pick<Config, 'stateDir' | 'journal'> & {
  readonly freeBytes: number;
  readonly usedBytes: number;
}): Finding {
  const mostBytes = Math.max(0, journal.segmentBytes * journal.keepSegments - usedBytes);
  const message = `${Math.floor(freeBytes / MIB)} MiB free for ${stateDir}`;
  const fix = 'free some, or lower `journal.keep_segments`';
  if (freeBytes < 2 * journal.segmentBytes) {
    const means = 'a journal that cannot be written halts the agent; two segments are kept ready';
    return failure('disk_space', { message, means, fix });
  }
  if (freeBytes < mostBytes) {
    const means = `the journal may still grow by ${Math.ceil(mostBytes / MIB)} MiB`;
    return warning('disk_space', { message, means, fix });
  }
  return ok('disk_space', message);
}

async function sizeOf(folder: string): Promise<number> {
  const names = await readdir(folder).catch(() => []);
  const sizes = names.map((name) => stat(join(folder, name)).then(({ size }) => size));
  const settled = await Promise.allSettled(sizes);
  return settled.reduce((sum, each) => sum + (each.status === 'fulfilled' ? each.value : 0), 0);
}

async function syncFinding(stateDir: string): Promise<Finding> {
  const path = join(stateDir, `.doctor-${process.pid}`);
  const tookMs: number[] = [];
  try {
    await using file = await open(path, 'wx', 0o600);
    for (let i = 0; i < SYNC_SAMPLES; i += 1) {
      await file.write(Buffer.alloc(SYNC_BYTES));
      const startedMs = performance.now();
      await file.datasync();
      tookMs.push(performance.now() - startedMs);
    }
  } catch (error) {
    return failure('sync_speed', {
      message: `${stateDir} cannot be written: ${describeIoError(error)}`,
      means: 'the agent halts at its first record',
      fix: 'run doctor as the owner of the folder or as root; is the disk full or read-only?',
    });
  } finally {
    await rm(path, { force: true }).catch(() => undefined);
  }
  const medianMs = tookMs.sort((a, b) => a - b)[Math.floor(SYNC_SAMPLES / 2)] ?? 0;
  const message = `a sync takes ${medianMs.toFixed(1)} ms (median of ${SYNC_SAMPLES})`;
  if (medianMs < SYNC_WARNING_MS) return ok('sync_speed', message);
  return warning('sync_speed', {
    message,
    means: 'every step of an op waits for it',
    fix: 'put `state_dir` on a faster disk, or look what else writes there: `iostat -x 1`',
  });
}

async function journalFindings({ stateDir }: Config): Promise<readonly Finding[]> {
  const reader = openReader(stateDir);
  try {
    await readNewest(reader.disk);
    const numbers = await reader.segments();
    const [newest] = await reader.listOps({ limit: 1 });
    const gap = gapFinding(numbers);
    const clock = newest === undefined ? null : clockBackFinding(newest.at);
    const troubles = [gap, clock].filter((finding) => finding !== null);
    if (troubles.length > 0) return troubles;
    if (newest === undefined) return [ok('journal', 'there are no ops in the journal yet')];
    const rest = numbers.length > 1 ? '; `journal verify` reads the segments before it, too' : '';
    return [ok('journal', `the newest record is of ${newest.at}, its segment is sound${rest}`)];
  } catch (error) {
    return [fromError('journal', error, 'the agent refuses to start')];
  }
}

/** Of history alone: with the segment before the newest missing no agent starts. */
function gapFinding(numbers: readonly number[]): Finding | null {
  const before = numbers.find((number, i) => (numbers[i + 1] ?? number + 1) !== number + 1);
  if (before === undefined) return null;
  return warning('journal', {
    message: `${segmentName(before + 1)} is missing`,
    means: 'it is history: the agent goes on without it, and nobody sees what it held',
    fix: 'look with `pve-reconciler journal verify`; put the segment back, or `journal repair`',
  });
}

function clockBackFinding(newestAt: string): Finding | null {
  if (Date.parse(newestAt) - Date.now() < CLOCK_BACK_MS) return null;
  return failure('clock', {
    message: `the newest record of the journal is of ${newestAt}, which is yet to come`,
    means: 'our clock was set back: holds last longer, and signed ops may be taken too late',
    fix: 'set the clock by NTP: `chronyc tracking`, `timedatectl`',
  });
}

function lockFinding(stateDir: string): Finding {
  let owner: ReturnType<typeof readOwner>;
  try {
    owner = readOwner(stateDir);
  } catch (error) {
    return fromError('lock', error, 'who holds the journal is not known');
  }
  if (owner === null) return ok('lock', 'nobody holds the journal: no agent runs');
  const judged = judgeOwner(owner, describeSelf());
  if (owner.poisoned === true) {
    return warning('lock', {
      message: `${describeOwner(owner)} halted on a failed write or sync`,
      means: 'the disk failed it; the next start looks closely and takes over',
      fix: `look at the disk of ${stateDir}: \`dmesg\`, \`df\`; then start the agent`,
    });
  }
  if (judged === 'alive') return ok('lock', `the journal is held by ${describeOwner(owner)}`);
  if (judged === 'gone') return ok('lock', `${describeOwner(owner)} is gone: the next takes over`);
  return warning('lock', {
    message: `the journal is held by ${describeOwner(owner)}, which cannot be seen from here`,
    means: 'it may be in another container, or on another host that shares the folder',
    fix: 'give every agent a `state_dir` of its own',
  });
}

/** Which make of looks is in use: neither is wrong. */
export function looksFinding({ look, node }: Config): Finding {
  const signs = createSignReader(look, node)(Date.now());
  if (signs !== null) {
    return ok('looks', `cheap looks, by ${look.mirror}: quiet passes ask nothing`);
  }
  if (existsSync(look.mirror)) {
    return warning('looks', {
      message: `what is in ${look.mirror} is old, or not understood`,
      means: 'every pass asks the API, as if there were no cheap looks',
      fix: 'systemctl restart pve-reconciler-look; journalctl -u pve-reconciler-look says why',
    });
  }
  const how = 'for fewer: systemctl enable --now pve-reconciler-look';
  return ok('looks', `every pass asks the API, 3 requests and the configs that are due (${how})`);
}
