/**
 * `UPID:node:pid:pstart:starttime:type:id:user:`: pid, pstart and starttime in hex, upper case; the
 * user with its token id (PVE-FACTS 16, 31).
 */
export interface UpidParts {
  readonly node: string;
  readonly pid: number;
  /** Jiffies since boot; 8 hex digits, 9 after about 16 months of uptime. */
  readonly pstart: number;
  /** Seconds since 1970. */
  readonly starttime: number;
  readonly type: string;
  readonly id: string;
  readonly user: string;
}

function hex(value: number): string {
  return value.toString(16).toUpperCase().padStart(8, '0');
}

export function formatUpid(parts: UpidParts): string {
  const numbers = `${hex(parts.pid)}:${hex(parts.pstart)}:${hex(parts.starttime)}`;
  return `UPID:${parts.node}:${numbers}:${parts.type}:${parts.id}:${parts.user}:`;
}

const NODE = '([a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)';
const NUMBERS = '[0-9A-Fa-f]{8}:[0-9A-Fa-f]{8,9}:[0-9A-Fa-f]{8}';
const UPID = new RegExp(`^UPID:${NODE}:${NUMBERS}:[^:\\s]+:[^:\\s]*:[^:\\s]+:$`);

/** The node a well-formed UPID names; null where it is not one. */
export function nodeOfUpid(text: string): string | null {
  return UPID.exec(text)?.[1] ?? null;
}
