/** One guest: its config, whether it runs, and how it behaves when it is asked to do something. */
import type { GuestConfig } from './guest-config.ts';

export type GuestKind = 'qemu' | 'lxc';

type Run =
  | { readonly kind: 'stopped' }
  | {
      readonly kind: 'running';
      /** null while a container reboots. */
      readonly pid: number | null;
      /** On the clock's monotonic time, for the uptime. */
      readonly sinceMs: number;
      /** `shutdown`: the guest was asked to go and has not yet gone. */
      readonly qmpStatus: 'running' | 'paused' | 'shutdown';
    };

export interface Behaviour {
  /** false: ACPI (or SIGPWR) is ignored, a graceful shutdown runs into its timeout. */
  readonly obeysShutdown: boolean;
  /** How long an obeying guest takes to go. */
  readonly shutdownMs: number;
  /** Every start fails with this text. */
  readonly startError: string | null;
  /** Every start ends in `WARNINGS: N` with these in its log. */
  readonly startWarnings: readonly string[];
}

export interface Guest {
  readonly kind: GuestKind;
  readonly vmid: number;
  readonly config: GuestConfig;
  behaviour: Behaviour;
  run: Run;
}

/** `VM` or `CT`, as PVE's messages name a guest. */
export function noun(kind: GuestKind): 'VM' | 'CT' {
  return kind === 'qemu' ? 'VM' : 'CT';
}

/** `qm` or `vz`, as its task types begin. */
export function taskPrefix(kind: GuestKind): 'qm' | 'vz' {
  return kind === 'qemu' ? 'qm' : 'vz';
}

/** The HA resource id, `vm:100` or `ct:200`. */
export function haSid(guest: { readonly kind: GuestKind; readonly vmid: number }): string {
  return `${guest.kind === 'qemu' ? 'vm' : 'ct'}:${guest.vmid}`;
}

export function guestName(guest: Guest): string {
  const key = guest.kind === 'qemu' ? 'name' : 'hostname';
  return guest.config.current.get(key) ?? `${noun(guest.kind)} ${guest.vmid}`;
}

export function isTemplate(guest: Guest): boolean {
  return guest.config.current.get('template') === '1';
}

export function configFile(node: string, kind: GuestKind, vmid: number): string {
  return `nodes/${node}/${kind === 'qemu' ? 'qemu-server' : 'lxc'}/${vmid}.conf`;
}
