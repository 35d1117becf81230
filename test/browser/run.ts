/** `npm run test:browser`: sees to a chromium, then runs the page's tests in it. */
import { spawnSync } from 'node:child_process';
import { findChromium } from './find-chromium.ts';

function run(command: string, args: readonly string[]): number {
  return spawnSync(command, args, { stdio: 'inherit' }).status ?? 1;
}

function hasChromium(): boolean {
  try {
    findChromium();
    return true;
  } catch {
    return false;
  }
}

if (!hasChromium()) {
  console.log('installing chromium from Debian');
  const asRoot = process.getuid?.() === 0 ? [] : ['sudo', '-n'];
  run('env', [...asRoot, 'apt-get', 'update', '-q']);
  run('env', [...asRoot, 'apt-get', 'install', '-q', '-y', '--no-install-recommends', 'chromium']);
}
process.exitCode = run('vitest', ['run', '--config', 'test/browser/vitest.config.ts']);
