/**
 * `npm run package:try`: the package in a clean Debian root without a network, first where no
 * systemd runs, then on a booted host with a simulated node. As root; debootstrap makes the root
 * (that takes the network, once), or `--root DIR` names one that is kept.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { makePackage } from './package.ts';
import { DebianRoot, makeRoot } from './trial/debian-root.ts';
import { tryWithSystemd } from './trial/with-systemd.ts';
import { tryWithoutSystemd } from './trial/without-systemd.ts';

/** Set in the process that has no network any more. */
const APART = 'PVE_RECONCILER_TRY_APART';

/** Its own network, with nothing but loopback, and its own mounts, gone with it. */
function goApart(dir: string): void {
  const again = ['--net', '--mount', '--fork', process.execPath, ...process.argv.slice(1)];
  execFileSync('unshare', again, { stdio: 'inherit', env: { ...process.env, [APART]: dir } });
}

async function tryApart(dir: string): Promise<void> {
  execFileSync('ip', ['link', 'set', 'lo', 'up']);
  const outDir = mkdtempSync(join(tmpdir(), 'pve-reconciler-try-'));
  try {
    const older = await makePackage({ outDir, compression: 'fast', version: '0.0.1' });
    const newer = await makePackage({ outDir, compression: 'fast', version: '99.0.0' });
    const mounts = [
      ['-t', 'proc', 'proc', join(dir, 'proc')],
      ['--rbind', '/dev', join(dir, 'dev')],
    ];
    for (const mount of mounts) execFileSync('mount', mount);
    await tryWithoutSystemd(new DebianRoot(dir), { older, newer });
    for (const mount of mounts) execFileSync('umount', ['--lazy', mount.at(-1) ?? '']);
    await tryWithSystemd(dir, { older, newer });
  } finally {
    rmSync(outDir, { recursive: true, force: true });
  }
}

if (process.geteuid?.() !== 0) throw new Error('package:try needs root');
const apart = process.env[APART];
if (apart === undefined) {
  const { values } = parseArgs({ options: { root: { type: 'string' } } });
  const dir = values.root ?? mkdtempSync(join(tmpdir(), 'pve-reconciler-root-'));
  try {
    if (!existsSync(join(dir, 'etc/debian_version'))) makeRoot(dir);
    goApart(dir);
  } finally {
    if (values.root === undefined) rmSync(dir, { recursive: true, force: true });
  }
} else {
  await tryApart(apart);
}
