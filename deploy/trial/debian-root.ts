/** A Debian root in a folder, and what is done in it without a running systemd: by chroot(1). */
import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { requireTool } from '../package.ts';

/** The one Proxmox VE 8 is made of; 9 has newer libraries, and the package asks for old ones. */
const SUITE = 'bookworm';

/** Takes the network, once. */
export function makeRoot(dir: string): void {
  requireTool('debootstrap', 'debootstrap');
  const options = ['--variant=minbase', '--include=systemd,libstdc++6'];
  execFileSync('debootstrap', [...options, SUITE, dir], { stdio: ['ignore', 'ignore', 'inherit'] });
  // A temporary folder is its maker's alone, and the agent's account has to get in.
  chmodSync(dir, 0o755);
}

export class DebianRoot {
  readonly dir: string;

  constructor(dir: string) {
    this.dir = dir;
  }

  at(path: string): string {
    return join(this.dir, path);
  }

  /** Throws, with what it said, where it ends with anything but 0. */
  run(...argv: string[]): string {
    return execFileSync('chroot', [this.dir, ...argv], { encoding: 'utf8', stdio: 'pipe' });
  }

  /** Returns all that dpkg says. Not from /tmp: a booted root has its own. */
  install(file: string): string {
    copyFileSync(file, this.at('/root/package.deb'));
    return this.run('sh', '-c', 'dpkg -i /root/package.deb 2>&1');
  }

  ownerOf(path: string): string {
    const { mode } = statSync(this.at(path));
    const owner = this.run('stat', '-c', '%U:%G', path).trim();
    return `${owner} ${(mode & 0o7777).toString(8)}`;
  }
}
