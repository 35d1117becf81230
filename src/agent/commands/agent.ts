/** `agent`: the daemon; with `--once` passes until everything has settled. */
import { createSignWatch } from '../cheap-looks/sign-watch.ts';
import type { CommandContext } from '../command-line/command.ts';
import { createControlService } from '../control/service.ts';
import { runDaemon } from '../daemon/daemon.ts';
import { createLog } from '../daemon/log.ts';
import { createThriftService } from '../daemon/memory-thrift.ts';
import { createNotifyService } from '../daemon/notify-service.ts';
import { openSession } from '../daemon/session.ts';
import { EXIT, type ExitCode } from '../errors.ts';
import { createSignedOpsPart } from '../hub/daemon-part.ts';
import { convergeOnce } from './apply.ts';

/** CONTRACT 2: SIGTERM ends it within 5 s, whatever hangs. */
const STOP_DEADLINE_MS = 4_500;

export async function runAgent(
  context: CommandContext,
  { once = false }: { readonly once?: boolean },
): Promise<ExitCode> {
  if (once) {
    await using session = await openSession(context.configFile, { access: 'write' });
    session.engine.recover();
    return await convergeOnce(context, session, {});
  }
  const log = createLog(context.terminal.err);
  context.signal.addEventListener('abort', () => {
    // Whatever hangs then (a disk, a socket) is settled by the next start, from the journal.
    setTimeout(() => process.exit(EXIT.ok), STOP_DEADLINE_MS).unref();
  });
  await using session = await openSession(context.configFile, { access: 'write' });
  const signed = createSignedOpsPart(session);
  const services = [
    createControlService(signed.control),
    signed.start,
    createSignWatch(),
    createNotifyService(process.env),
    createThriftService(),
  ];
  await runDaemon(session, { log, signal: context.signal, services });
  log.info('agent has stopped');
  return EXIT.ok;
}
