/**
 * The same root with a systemd of its own that runs: in namespaces of its own for processes, mounts
 * and control groups, on the network of whoever boots it. It ends with `halt`, or with us.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { DebianRoot } from './debian-root.ts';

const BOOT_MAX_MS = 60_000;
const HALT_MAX_MS = 10_000;
const POLL_MS = 100;

/** Makes what systemd wants to find in a container, then becomes it. */
const BOOT = `
set -e
root=$1
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom tty; do
  touch "$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
shift
for pair in "$@"; do
  mkdir -p "$root/\${pair#*:}"
  mount --bind "\${pair%%:*}" "$root/\${pair#*:}"
done
echo pve1 > "$root/etc/hostname"
# Not chroot(1): units that want a user namespace of their own get none in it.
cd "$root"
pivot_root . mnt
umount --lazy /mnt
exec env -i container=trial PATH=/usr/sbin:/usr/bin:/sbin:/bin \\
  /lib/systemd/systemd --system --log-target=journal --show-status=no
`;
const BOOT_UNSHARED = ['--mount', '--pid', '--cgroup', '--ipc', '--uts', '--fork', '--kill-child'];
const ENVIRONMENT = [
  'env',
  '-i',
  'PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  'HOME=/root',
];

export class BootedRoot extends DebianRoot {
  readonly #boot: ChildProcess;
  readonly #group: string;

  /** `shared`: `/here:/there`, folders of ours that are seen in it. Resolves when it is up. */
  static async boot(dir: string, shared: readonly string[]): Promise<BootedRoot> {
    const group = join(cgroupMount(), `pve-reconciler-trial-${process.pid}`);
    mkdirSync(group);
    const enter = 'echo $$ > "$0/cgroup.procs"; exec unshare "$@"';
    const inside = ['sh', '-c', BOOT, 'boot', dir, ...shared];
    const boot = spawn('sh', ['-c', enter, group, ...BOOT_UNSHARED, ...inside], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    const root = new BootedRoot(dir, boot, group);
    await root.until('systemd is up', () => /running|degraded/.test(root.state()), BOOT_MAX_MS);
    return root;
  }

  private constructor(dir: string, boot: ChildProcess, group: string) {
    super(dir);
    this.#boot = boot;
    this.#group = group;
  }

  override run(...argv: string[]): string {
    const inside = ['-a', '-r', '-w', '-t', String(this.#pid()), ...ENVIRONMENT, ...argv];
    return execFileSync('nsenter', inside, { encoding: 'utf8', stdio: 'pipe' });
  }

  /** The same, with what it ended with and all it said. */
  ended(...argv: string[]): { readonly exit: number; readonly said: string } {
    try {
      return { exit: 0, said: this.run(...argv) };
    } catch (error) {
      if (!(error instanceof Error && 'status' in error && 'stderr' in error)) throw error;
      const out = 'stdout' in error ? String(error.stdout) : '';
      return { exit: Number(error.status), said: `${out}${String(error.stderr)}` };
    }
  }

  property(unit: string, name: string): string {
    return this.run('systemctl', 'show', '--property', name, '--value', unit).trim();
  }

  async until(
    what: string,
    isSo: () => boolean | Promise<boolean>,
    maxMs = 30_000,
  ): Promise<number> {
    const began = performance.now();
    while (!(await isSo())) {
      if (this.#boot.exitCode !== null) throw new Error(`${what}: systemd has ended`);
      if (performance.now() - began > maxMs) throw new Error(`${what}: not within ${maxMs} ms`);
      await delay(POLL_MS);
    }
    return performance.now() - began;
  }

  state(): string {
    return this.#pid() === null ? '' : this.ended('systemctl', 'is-system-running').said;
  }

  async halt(): Promise<void> {
    const ended = once(this.#boot, 'exit');
    this.#boot.kill('SIGKILL');
    await ended;
    // What it ran is killed with it, and gone a little later.
    await this.until('its processes are gone', () => !isPopulated(this.#group), HALT_MAX_MS);
    removeGroup(this.#group);
  }

  /** Of its systemd, as seen from here. */
  #pid(): number | null {
    const { pid } = this.#boot;
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
    const [child] = children.split(' ');
    if (child === undefined || child === '') return null;
    const name = readFileSync(`/proc/${child}/comm`, 'utf8').trim();
    return name === 'systemd' ? Number(child) : null;
  }
}

function isPopulated(group: string): boolean {
  return readFileSync(join(group, 'cgroup.events'), 'utf8').includes('populated 1');
}

function removeGroup(path: string): void {
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    if (entry.isDirectory()) removeGroup(join(path, entry.name));
  }
  rmdirSync(path);
}

/** Where control groups of version 2 are mounted, alone or beside version 1. */
function cgroupMount(): string {
  const mounts = readFileSync('/proc/self/mounts', 'utf8').split('\n');
  const [, path] =
    mounts.map((line) => line.split(' ')).find(([, , type]) => type === 'cgroup2') ?? [];
  if (path === undefined) throw new Error('no cgroup2 is mounted here: systemd cannot be booted');
  return path;
}
