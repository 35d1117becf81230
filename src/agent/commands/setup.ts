/**
 * `setup`: makes what an agent needs on its PVE host (roles, user, token, CA, configuration, a
 * first document in `mode: observe`), or takes it away again; `--print` only shows what it would do.
 */
import { existsSync } from 'node:fs';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { ReconcilerError } from '../../reconcile/errors.ts';
import { type CommandContext, usageError } from '../command-line/command.ts';
import { type Config, loadConfig } from '../config/config.ts';
import { listDocuments } from '../desired/file.ts';
import { EXIT, type ExitCode } from '../errors.ts';
import { remember, type SetupOptions, setUp, takeDown } from '../setup/setup.ts';
import { printable } from '../terminal/terminal.ts';
import { runAdopt } from './adopt.ts';

export interface SetupCommandOptions {
  readonly print?: boolean;
  readonly remove?: boolean;
  readonly node?: string;
  readonly url: string;
  readonly ca: string;
  readonly startupOrder?: boolean;
}

const NODE_NAME = /^[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?$/;

export async function runSetup(
  context: CommandContext,
  { print = false, remove = false, startupOrder = false, url, ca, ...given }: SetupCommandOptions,
): Promise<ExitCode> {
  const { terminal, configFile } = context;
  const configured = existsSync(configFile) ? await readConfigured(context, remove) : null;
  const node = given.node ?? configured?.node ?? hostname().split('.')[0] ?? '';
  if (!NODE_NAME.test(node)) throw usageError(`${JSON.stringify(node)} is no name of a node`);
  if (!URL.canParse(url)) throw usageError(`${JSON.stringify(url)} is no URL`);
  const options: SetupOptions = {
    configFile,
    configured,
    node,
    url,
    caFile: ca,
    startupOrder,
    isPrintOnly: print,
    say: (line) => terminal.out.line(printable(line)),
  };
  if (remove) {
    await takeDown(options);
    return EXIT.ok;
  }
  const document = await setUp(options);
  if (print || document === null) return EXIT.ok;
  return adoptInto(context, document);
}

/** What is to be taken away may be broken: then it is looked for where setup puts it. */
async function readConfigured(
  { terminal, configFile }: CommandContext,
  isRemoval: boolean,
): Promise<Config | null> {
  try {
    return await loadConfig(configFile);
  } catch (error) {
    if (!isRemoval || !(error instanceof ReconcilerError)) throw error;
    terminal.err.line(`note: ${printable(error.detail)}`);
    return null;
  }
}

/** The guests that are there, in `mode: observe`; a folder with documents is left as it is. */
async function adoptInto(context: CommandContext, document: string): Promise<ExitCode> {
  const listing = await listDocuments(dirname(document));
  if (listing.kind === 'listed' && listing.files.length > 0) return EXIT.ok;
  const exit = await runAdopt(context, { refs: [], all: true, observe: true, to: document });
  const written = join(dirname(context.configFile), '.setup.json');
  await remember({ written }, document);
  return exit;
}
