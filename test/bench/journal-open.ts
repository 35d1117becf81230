/** Opens the journal of the state folder named, and prints what that cost (test/bench/journal.ts). */
import { readFileSync } from 'node:fs';
import { openOnDisk } from '../support/journal-on-disk.ts';

const [stateDir = ''] = process.argv.slice(2);
const sinceMs = performance.now();
const journal = await openOnDisk(stateDir);
const ms = performance.now() - sinceMs;
await journal.close();
// What rusage calls the most counts the process that started this one, too.
const peakKib = Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]);
console.log(JSON.stringify({ ms, peakKib }));
