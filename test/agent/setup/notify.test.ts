import { mkdirSync, readFileSync, watch, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { type Simulator, startSimulator } from '../../simulator/start.ts';
import { type Host, makeHost, startDaemon } from '../program.ts';

let pve: Simulator;
let host: Host;
beforeAll(async () => {
  pve = await startSimulator({});
  host = makeHost(pve);
  host.write('desired.yaml', 'version: 1\nguests: {}\n');
});
afterAll(async () => {
  vi.unstubAllEnvs();
  host.remove();
  await pve.stop();
});

/** Resolves when the file holds the text, whenever it is written. */
async function holds(file: string, text: string): Promise<void> {
  const watcher = watch(file);
  try {
    await new Promise<void>((resolve) => {
      const look = (): void => {
        if (readFileSync(file, 'utf8').includes(text)) resolve();
      };
      watcher.on('change', look);
      look();
    });
  } finally {
    watcher.close();
  }
}

test('systemd is told that the agent is up, that its loop turns, and that it ends', async () => {
  const said = host.write('said', '');
  mkdirSync(join(host.dir, 'bin'));
  const fake = join(host.dir, 'bin/systemd-notify');
  writeFileSync(fake, `#!/bin/sh\necho "$@" >> '${said}'\n`, { mode: 0o755 });
  vi.stubEnv('PATH', `${join(host.dir, 'bin')}${delimiter}${process.env['PATH']}`);
  vi.stubEnv('NOTIFY_SOCKET', '/run/systemd/notify');
  vi.stubEnv('WATCHDOG_USEC', '300000');
  const daemon = startDaemon(host.configure({}));
  await holds(said, 'WATCHDOG=1\n');
  expect(readFileSync(said, 'utf8')).toMatch(/^--ready --status=agent pve1 is up\nWATCHDOG=1\n/);
  expect(await daemon.end('SIGTERM')).toBe(0);
  expect(readFileSync(said, 'utf8')).toMatch(/STOPPING=1\n$/);
});
