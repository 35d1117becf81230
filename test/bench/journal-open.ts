/** Opens the journal of the state folder named, and prints what that cost (test/bench/journal.ts). */
import { openOnDisk } from '../support/journal-on-disk.ts';

const [stateDir = ''] = process.argv.slice(2);
const sinceMs = performance.now();
const journal = await openOnDisk(stateDir);
const ms = performance.now() - sinceMs;
const { maxRSS: maxRssKib } = process.resourceUsage();
await journal.close();
console.log(JSON.stringify({ ms, maxRssKib }));
