/**
 * The commands: names, arguments, options and help, as CONTRACT 2 has them. What a command does
 * is in commands/, and is loaded only when it runs: nothing that takes long to load (zod, yaml,
 * undici) may be imported from here.
 */
import { Command, InvalidArgumentError, Option } from 'commander';
import packageJson from '../../../package.json' with { type: 'json' };
import type { OpsListOptions } from '../commands/ops-list.ts';
import type { PushOptions } from '../commands/push.ts';
import type { SignOptions } from '../commands/sign.ts';
import { preferLittleMemory } from '../daemon/memory-thrift.ts';
import type { Terminal } from '../terminal/terminal.ts';
import { addAgentCommands } from './agent-commands.ts';
import type { Run } from './command.ts';
import { examples } from './help-text.ts';
import { addHostCommands } from './host-commands.ts';

const DEFAULT_CONFIG_FILE = '/etc/pve-reconciler/config.yaml';

export function createProgram({
  terminal,
  run,
}: {
  readonly terminal: Terminal;
  readonly run: Run;
}): Command {
  const program = new Command('pve-reconciler')
    .description('Keeps the guests of a Proxmox VE host in their desired state.')
    .version(packageJson.version)
    .addOption(
      new Option('--config <file>', 'the configuration')
        .env('PVE_RECONCILER_CONFIG')
        .argParser(requireFile)
        .default(DEFAULT_CONFIG_FILE),
    )
    .option('--json', 'print data as JSON')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => terminal.out.line(text.trimEnd()),
      writeErr: (text) => terminal.err.line(text.trimEnd()),
      // Errors are printed once, by whoever catches them.
      outputError: () => undefined,
    });
  addReconcileCommands(program, run);
  addOpsCommands(program, run);
  addJournalCommands(program, run);
  addOfflineCommands(program, run);
  addSigningCommands(program, run);
  addAgentCommands(program, run);
  addHostCommands(program, run);
  return program;
}

function requireFile(file: string): string {
  if (file !== '') return file;
  throw new InvalidArgumentError('expected a file');
}

function addReconcileCommands(program: Command, run: Run): void {
  program
    .command('agent')
    .description('the daemon, in the foreground')
    .option('--once', 'passes until everything has settled, then end')
    .addHelpText('after', examples('agent', 'agent --once --json'))
    .action(
      run(async (context, options: { once?: boolean }) => {
        if (options.once !== true) preferLittleMemory();
        const { runAgent } = await import('../commands/agent.ts');
        return runAgent(context, options);
      }),
    );
  program
    .command('plan [refs...]')
    .description('show what differs and what would be done; changes nothing (exit 2: differences)')
    .addHelpText('after', examples('plan', 'plan web 102 --json'))
    .action(
      run(async (context, refs: string[]) => {
        const { runPlan } = await import('../commands/plan.ts');
        return runPlan(context, { refs });
      }),
    );
  program
    .command('apply [refs...]')
    .description('one pass now, with progress per op')
    .option('--yes', 'do not ask')
    .addHelpText('after', examples('apply', 'apply web --yes'))
    .action(
      run(async (context, refs: string[], options: { yes?: boolean }) => {
        const { runApply } = await import('../commands/apply.ts');
        return runApply(context, { refs, ...options });
      }),
    );
  program
    .command('status [refs...]')
    .description('a row per guest: desired, actual, drift, phase, conditions, last op')
    .option('--watch', 'again and again, until interrupted')
    .addHelpText('after', examples('status', 'status web --watch', 'status --json | jq .guests'))
    .action(
      run(async (context, refs: string[], options: { watch?: boolean }) => {
        const { runStatus } = await import('../commands/status.ts');
        return runStatus(context, { refs, ...options });
      }),
    );
}

function addOpsCommands(program: Command, run: Run): void {
  const ops = program.command('ops').description('the journal, as ops');
  ops
    .command('list')
    .description('ops, newest first')
    .option('--in-flight', 'only those under way')
    .option('--failed', 'only those that failed')
    .option('--guest <ref>', 'only those of one guest')
    .option('--since <time>', 'only those since a time (RFC 3339) or for a duration (1h)')
    .option('--limit <count>', 'at most so many', '50')
    .addHelpText(
      'after',
      examples('ops list --failed --since 2h', 'ops list --guest web --limit 200'),
    )
    .action(
      run(async (context, options: OpsListOptions) => {
        const { runOpsList } = await import('../commands/ops-list.ts');
        return runOpsList(context, options);
      }),
    );
  ops
    .command('show <id>')
    .description('one op, from its first record to its last')
    .addHelpText('after', examples('ops show 7k2m'))
    .action(
      run(async (context, id: string) => {
        const { runOpsShow } = await import('../commands/ops-show.ts');
        return runOpsShow(context, { id });
      }),
    );
}

function addJournalCommands(program: Command, run: Run): void {
  const journal = program.command('journal').description('the journal, as records');
  journal
    .command('verify')
    .description('check every record, the chain and the order of states')
    .action(
      run(async (context) => {
        const { runJournalVerify } = await import('../commands/journal-verify.ts');
        return runJournalVerify(context);
      }),
    );
  journal
    .command('repair')
    .description('put a repaired copy in its place; the original is kept beside it')
    .action(
      run(async (context) => {
        const { runJournalRepair } = await import('../commands/journal-repair.ts');
        return runJournalRepair(context);
      }),
    );
  journal
    .command('tail')
    .description('the newest records')
    .option('--lines <count>', 'so many to begin with', '20')
    .option('--follow', 'and those that come, until interrupted')
    .addHelpText('after', examples('journal tail --follow'))
    .action(
      run(async (context, options: { follow?: boolean; lines: string }) => {
        const { runJournalTail } = await import('../commands/journal-tail.ts');
        return runJournalTail(context, options);
      }),
    );
}

function addOfflineCommands(program: Command, run: Run): void {
  program
    .command('validate <files...>')
    .description('check desired-state files, offline')
    .addHelpText('after', examples('validate desired.d/*.yaml'))
    .action(
      run(async (context, files: string[]) => {
        const { runValidate } = await import('../commands/validate.ts');
        return runValidate(context, { files });
      }),
    );
  program
    .command('schema')
    .description('print the JSON Schema of desired-state files')
    .addHelpText('after', examples('schema > desired.schema.json'))
    .action(
      run(async (context) => {
        const { runSchema } = await import('../commands/schema.ts');
        return runSchema(context);
      }),
    );
}

/** The hub's side: these need no configuration, but for `keys show` and a `push` without --to. */
function addSigningCommands(program: Command, run: Run): void {
  const keys = program.command('keys').description('keys of signers, and of this agent');
  keys
    .command('generate')
    .description('a key pair for whoever signs ops: KEYID.key.pem and KEYID.pub.pem')
    .argument('[keyid]', 'its name in `signers`', 'signer')
    .option('--out <folder>', 'where to write them', '.')
    .addHelpText('after', examples('keys generate hub-1 --out keys'))
    .action(
      run(async (context, keyid: string, options: { out: string }) => {
        const { runKeysGenerate } = await import('../commands/keys.ts');
        return runKeysGenerate(context, { keyid, folder: options.out });
      }),
    );
  keys
    .command('show')
    .description("this agent's public key, for the hub: its receipts are signed with it")
    .action(
      run(async (context) => {
        const { runKeysShow } = await import('../commands/keys.ts');
        return runKeysShow(context);
      }),
    );
  addSign(program, run);
  program
    .command('push')
    .description('deliver a signed op to an agent')
    .argument('[file]', 'the envelope; - for stdin', '-')
    .option('--to <url>', 'the agent: http(s)://HOST:PORT or unix:PATH (default: control.socket)')
    .option('--ca <file>', 'the CA of an https agent')
    .option('--wait', 'until the op has its receipt; exit 1 if it failed')
    .option('--agent-key <file>', "the receipt must be signed with it: the agent's `keys show`")
    .addHelpText('after', examples('push op.json --to https://pve1:8788 --ca ca.pem --wait'))
    .action(
      run(async (context, file: string, options: PushOptions) => {
        const { runPush } = await import('../commands/push.ts');
        return runPush(context, { ...options, file });
      }),
    );
}

/** An option that may be given several times. */
function collect(value: string, others: string[] = []): string[] {
  return [...others, value];
}

function addSign(program: Command, run: Run): void {
  program
    .command('sign')
    .description('a signed op on stdout; with --add one more signature on it')
    .argument('[kind]', 'start, stop, restart or set_config')
    .argument('[vmid]')
    .requiredOption('--key <file>', 'private key; may be given several times', collect)
    .option('--keyid <keyid>', 'its name in `signers` (default: from the name of the file)')
    .option('--add <file>', 'sign this envelope instead of a new one; - for stdin')
    .option('--agent <id>', 'which agent it is for')
    .option('--params <json>', 'of the op, like \'{"mode":"stop"}\'')
    .option('--expires <duration>', 'how long it may begin, at most 24h', '10m')
    .option('--hold <duration>', 'how long reconciling leaves the guest alone afterwards')
    .option('--idemp-key <key>', 'one key is one op (default: random)')
    .option('--correlation-id <id>')
    .option('--if-power <state>', 'only if the guest is running or stopped')
    .option('--if-digest <digest>', 'only if its config still has this digest')
    .addHelpText(
      'after',
      examples(
        'sign start 101 --agent pve1 --key hub-1.key.pem > op.json',
        'sign --add op.json --key hub-2.key.pem > both.json',
      ),
    )
    .action(
      run(
        async (
          context,
          kind: string | undefined,
          vmid: string | undefined,
          options: SignOptions,
        ) => {
          const { runSign } = await import('../commands/sign.ts');
          return runSign(context, { ...options, kind, vmid });
        },
      ),
    );
}
