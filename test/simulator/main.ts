/**
 * `node test/simulator/main.ts [options]`: a simulated PVE node in this process. Prints one JSON
 * line when it is ready (README), and ends at once on SIGTERM or SIGINT.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { z } from 'zod';
import { realTicker } from './clock.ts';
import { sampleGuests } from './sample-world.ts';
import { startServer } from './server.ts';
import { worldSchema } from './world.ts';

const USAGE = `usage: node test/simulator/main.ts [options]
  --port N            listen on this port of 127.0.0.1 (default: any free one)
  --dir DIR           where the CA, the tokens and the look files go (default: a temporary folder)
  --remove-dir        remove DIR at the end, as is done with a temporary one
  --world FILE.json   the guests and tokens to start with
  --guests N          made-up guests, besides those of the world file
  --look DIR          keep there what a look at the host would show (.vmlist, .version, pid files)
  --watch DIR         note with each write how long the files of DIR are
  --history           keep what becomes of guests and tasks, for GET /history
  --speed N           divide every duration by N (default 1)
  --die-with-parent   end when standard input is closed
  --help              this
`;

function readOptions(): z.infer<typeof optionsSchema> {
  const { values } = parseArgs({
    options: {
      port: { type: 'string' },
      dir: { type: 'string' },
      world: { type: 'string' },
      guests: { type: 'string' },
      look: { type: 'string' },
      watch: { type: 'string' },
      history: { type: 'boolean' },
      speed: { type: 'string' },
      'die-with-parent': { type: 'boolean' },
      'remove-dir': { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  return optionsSchema.parse(values);
}

const optionsSchema = z.strictObject({
  port: z.coerce.number().int().min(0).max(65_535).default(0),
  dir: z.string().optional(),
  world: z.string().optional(),
  guests: z.coerce.number().int().min(0).default(0),
  look: z.string().optional(),
  watch: z.string().optional(),
  history: z.boolean().default(false),
  speed: z.coerce.number().positive().default(1),
  'die-with-parent': z.boolean().default(false),
  'remove-dir': z.boolean().default(false),
  help: z.boolean().default(false),
});

async function main(): Promise<void> {
  const options = readOptions();
  if (options.help) {
    process.stdout.write(USAGE);
    return;
  }
  const file: unknown =
    options.world === undefined ? {} : JSON.parse(readFileSync(options.world, 'utf8'));
  const base = worldSchema.parse(file);
  const made = worldSchema.parse({ guests: sampleGuests(options.guests) });
  const isTemporary = options.dir === undefined || options['remove-dir'];
  const dir = options.dir ?? mkdtempSync(join(tmpdir(), 'pve-simulator-'));
  const end = (): void => {
    // At once: whoever waits for an answer sees the connection break, as with a real crash.
    if (isTemporary) rmSync(dir, { recursive: true, force: true });
    process.exit(0);
  };
  process.once('SIGTERM', end);
  process.once('SIGINT', end);
  if (options['die-with-parent']) {
    process.stdin.on('end', end).on('close', end).resume();
  }
  const { ready } = await startServer({
    world: { ...base, guests: [...base.guests, ...made.guests] },
    dir,
    port: options.port,
    speed: options.speed,
    ticker: realTicker,
    lookDir: options.look ?? null,
    watchDir: options.watch ?? null,
    hasHistory: options.history,
  });
  process.stdout.write(`${JSON.stringify(ready)}\n`);
}

try {
  await main();
} catch (error) {
  const message = error instanceof Error ? error.message : String(error);
  const why = error instanceof z.ZodError ? z.prettifyError(error) : message;
  process.stderr.write(`${why}\n${USAGE}`);
  process.exitCode = 64;
}
