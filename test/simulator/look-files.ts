/**
 * What a look at the host shows without the API (PVE-FACTS 29–31), as files in a folder:
 * `etc-pve/.vmlist` and `etc-pve/.version`, `run/qemu-server/VMID.pid`, and a folder
 * `cgroup/lxc/VMID` per running container. Counters start again with this process, and `starttime`
 * says so.
 */
import { closeSync, mkdirSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Guest } from './guest.ts';
import type { PveNode } from './node.ts';

interface Listed {
  /** The config's own counter when it was last seen. */
  readonly seen: number;
  /** The counter in .vmlist. */
  readonly version: number;
}

export class LookFiles {
  readonly #node: PveNode;
  readonly #dir: string;
  readonly #startS: number;
  readonly #listed = new Map<number, Listed>();
  readonly #shownRunning = new Set<string>();
  #vmlistVersion = 1;
  #placement = '';
  #haDigest = '';
  #haResources = 1;
  #lastVersionText = '';

  constructor(node: PveNode, dir: string) {
    this.#node = node;
    this.#dir = dir;
    this.#startS = node.clock.nowS();
    for (const folder of ['etc-pve', 'run/qemu-server', 'cgroup/lxc']) {
      mkdirSync(join(dir, folder), { recursive: true });
    }
    this.sync();
  }

  /** Brings the files up to date; cheap when nothing has changed. */
  sync(): void {
    if (this.#noticeWrites()) this.#write('etc-pve/.vmlist', JSON.stringify(this.#vmlist()));
    const version = JSON.stringify(this.#version());
    if (version !== this.#lastVersionText) this.#write('etc-pve/.version', version);
    this.#lastVersionText = version;
    this.#showRunning();
  }

  /** A guest's counter takes the list's new value with each write of its config. */
  #noticeWrites(): boolean {
    const { guests, elsewhere } = this.#node;
    let isChanged = false;
    for (const { vmid, config } of guests.values()) {
      const before = this.#listed.get(vmid);
      if (before?.seen === config.version) continue;
      this.#vmlistVersion += config.version - (before?.seen ?? config.version - 1);
      this.#listed.set(vmid, { seen: config.version, version: this.#vmlistVersion });
      isChanged = true;
    }
    const placement = `${[...guests.keys()].join()} ${JSON.stringify([...elsewhere])}`;
    if (placement !== this.#placement) isChanged = true;
    this.#placement = placement;
    return isChanged;
  }

  #vmlist(): unknown {
    const { guests, elsewhere, name } = this.#node;
    const here = [...guests.values()].map(({ vmid, kind }) => {
      return [vmid, { node: name, type: kind, version: this.#listed.get(vmid)?.version ?? 1 }];
    });
    const there = [...elsewhere].map(([vmid, { node, kind }]) => {
      return [vmid, { node, type: kind, version: this.#listed.get(vmid)?.version ?? 1 }];
    });
    return { version: this.#vmlistVersion, ids: Object.fromEntries([...here, ...there]) };
  }

  #version(): unknown {
    const { ha, tasks, name } = this.#node;
    const digest = ha.digest();
    if (digest !== this.#haDigest) this.#haResources += 1;
    this.#haDigest = digest;
    return {
      starttime: this.#startS,
      clinfo: 1,
      vmlist: this.#vmlistVersion,
      'user.cfg': 1,
      'ha/resources.cfg': this.#haResources,
      'ha/manager_status': 1 + ha.rounds,
      kvstore: { [name]: { tasklist: 1 + tasks.changes } },
    };
  }

  #showRunning(): void {
    const running = new Set<string>();
    for (const guest of this.#node.guests.values()) {
      if (guest.run.kind === 'running') running.add(signOfLife(guest));
    }
    for (const sign of this.#shownRunning) {
      if (running.has(sign)) continue;
      rmSync(join(this.#dir, sign), { recursive: true, force: true });
      this.#shownRunning.delete(sign);
    }
    for (const sign of running) {
      if (this.#shownRunning.has(sign)) continue;
      // The content of a pid file is for root only; that it is there is for everybody.
      const path = join(this.#dir, sign);
      if (sign.endsWith('.pid')) closeSync(openSync(path, 'w'));
      else mkdirSync(path);
      this.#shownRunning.add(sign);
    }
  }

  /** Whole or not at all, as pmxcfs shows it. */
  #write(file: string, text: string): void {
    const path = join(this.#dir, file);
    const temporary = join(dirname(path), '.writing');
    writeFileSync(temporary, text);
    renameSync(temporary, path);
  }
}

function signOfLife(guest: Guest): string {
  return guest.kind === 'qemu' ? `run/qemu-server/${guest.vmid}.pid` : `cgroup/lxc/${guest.vmid}`;
}
