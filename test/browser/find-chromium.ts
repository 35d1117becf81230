/** Debian's chromium, or the browser that CHROMIUM names. */
import { existsSync } from 'node:fs';

const PLACES = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

export function findChromium(): string {
  const found = [process.env['CHROMIUM'] ?? '', ...PLACES].find((path) => existsSync(path));
  if (found === undefined)
    throw new Error('no chromium: apt-get install chromium, or set CHROMIUM');
  return found;
}
