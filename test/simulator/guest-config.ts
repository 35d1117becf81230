/**
 * A guest's config file: what is current, what is pending, and the digest, which is the SHA-1 of
 * the whole file text with its pending part (PVE-FACTS 24). All values are text as the file holds
 * them.
 */
import { createHash } from 'node:crypto';

export class GuestConfig {
  readonly current: Map<string, string>;
  readonly pending = new Map<string, string>();
  readonly pendingDeletes = new Set<string>();
  #digest: string | null = null;
  #version = 1;

  constructor(values: Iterable<readonly [string, string]>) {
    this.current = new Map(values);
  }

  /** Grows with every write, as in .vmlist; it moves by 2 per PUT (PVE-FACTS 29). */
  get version(): number {
    return this.#version;
  }

  get digest(): string {
    this.#digest ??= createHash('sha1').update(this.text()).digest('hex');
    return this.#digest;
  }

  /** To be called after any change of the maps. */
  touch(): void {
    this.#digest = null;
    this.#version += 2;
  }

  get hasPending(): boolean {
    return this.pending.size > 0 || this.pendingDeletes.size > 0;
  }

  /**
   * `key: ` is read back as a blank and written as `key:  `, so the first write of any other option
   * changes the digest too (transcripts put_config_running_pending and nonexistent).
   */
  rewriteEmptyValues(): void {
    for (const [key, value] of this.current) if (value === '') this.current.set(key, ' ');
  }

  text(): string {
    const sections = [section(this.current)];
    if (this.hasPending) {
      const pending = new Map(this.pending);
      const deletes = [...this.pendingDeletes].sort().join(',');
      if (deletes !== '') pending.set('delete', deletes);
      sections.push(`[PENDING]\n${section(pending)}`);
    }
    return sections.join('\n');
  }
}

function section(values: ReadonlyMap<string, string>): string {
  const description = values.get('description');
  const comment = description === undefined ? '' : commentLines(description);
  const lines = [...values]
    .filter(([key]) => key !== 'description' && key !== 'env')
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}: ${value}\n`);
  const environment = values.get('env');
  if (environment !== undefined) {
    lines.push(...environment.split('\0').map((entry) => `lxc.environment.runtime: ${entry}\n`));
  }
  return comment + lines.join('');
}

function commentLines(description: string): string {
  const lines = description.replace(/\n+$/, '').split('\n');
  return lines.map((line) => `#${encodeText(line)}\n`).join('');
}

/** Everything but printable ASCII, and the percent sign, is percent-encoded. */
function encodeText(text: string): string {
  let encoded = '';
  for (const byte of Buffer.from(text, 'utf8')) {
    const isPlain = byte >= 0x20 && byte <= 0x7e && byte !== 0x25;
    encoded += isPlain
      ? String.fromCharCode(byte)
      : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return encoded;
}
