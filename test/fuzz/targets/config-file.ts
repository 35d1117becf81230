/** config.yaml, from the file on. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadConfig } from '../../../src/agent/config/config.ts';
import { ReconcilerError } from '../../../src/reconcile/errors.ts';
import { type FuzzTarget, insist } from '../target.ts';

const EXAMPLE = new URL('../../../deploy/examples/config.yaml', import.meta.url);

export const target: FuzzTarget = {
  seeds: () => [
    readFileSync(EXAMPLE, 'utf8'),
    JSON.stringify({
      node: 'pve1',
      proxmox: {
        url: 'https://127.0.0.1:8006',
        token_file: 'token',
        fingerprint: 'AA:'.repeat(31),
      },
      control: { listen: '[::1]:80', public: '0.0.0.0:1' },
      signers: [
        { keyid: 'a', public_key_file: 'a.pem', allow: { kinds: ['start'], vmids: '100-199,300' } },
      ],
      hub: { url: 'https://hub.example/x/' },
    }),
  ],
  words: [
    '500ms',
    '90d',
    '16MiB',
    '100-199',
    'system',
    'enforce',
    '${HOME}',
    '99999999999999d',
    ': ',
    '\n  ',
  ],
  async run(input) {
    const folder = mkdtempSync(join(tmpdir(), 'fuzz-config-'));
    const file = join(folder, 'config.yaml');
    writeFileSync(file, input);
    try {
      const config = await loadConfig(file);
      insist(config.policy.intervalMs > 0, 'an interval is longer than nothing');
      insist(config.journal.segmentBytes > 0, 'a segment has room');
      insist(config.proxmox.url.startsWith('https:'), 'PVE is asked over TLS only');
      insist(config.placeOf(['proxmox', 'url']).line >= 1, 'a key has a place');
    } catch (error) {
      const isRefusal = error instanceof ReconcilerError && error.code === 'config_invalid';
      if (!isRefusal) throw error;
      insist(error.disposition === 'halt', 'a configuration that is refused ends the process');
      insist(error.message.includes(file), 'a refusal names the file');
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
};
