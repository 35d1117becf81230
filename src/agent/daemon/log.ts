/**
 * The log, on stderr: JSON lines for machines, one readable line each where somebody watches.
 * Secrets cannot get here: what is logged is built from records, plans and problems, which hold
 * none, and values that are secret mask themselves.
 */
import { type Logger, pino } from 'pino';
import { assertNever, type Problem } from '../../reconcile/errors.ts';
import type { EngineEvent } from '../../reconcile/events.ts';
import type { OpId, Vmid } from '../../reconcile/ids.ts';
import type { OpRecord } from '../../reconcile/op.ts';
import type { Plan } from '../../reconcile/plan.ts';
import { failureOf } from '../command-line/command.ts';
import { summarise } from '../control/plan-document.ts';
import { counted } from '../terminal/counted.ts';
import { type Channel, type Colour, printable } from '../terminal/terminal.ts';
import { WaitNews } from '../terminal/wait-news.ts';

export type Log = Pick<Logger, 'debug' | 'info' | 'warn' | 'error' | 'fatal'>;

/** `text`: `name`, `err` and `hostname` are noise on a host's own journal. */
export function createLog(err: Channel): Log {
  return pino(
    {
      base: null,
      messageKey: 'message',
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (level) => ({ level }) },
    },
    { write: (line) => err.line(err.isTerminal ? readableLine(line, err) : line.trimEnd()) },
  );
}

const COLOURS: Readonly<Record<string, Colour>> = {
  debug: 'dim',
  info: 'green',
  warn: 'yellow',
  error: 'red',
  fatal: 'red',
};

function readableLine(line: string, err: Channel): string {
  const { level, time, message, ...fields }: Record<string, unknown> = JSON.parse(line);
  const name = String(level);
  const rest = Object.entries(fields).map(
    ([key, value]) => ` ${err.paint('dim', `${key}=`)}${printable(textOf(value))}`,
  );
  const clock = String(time).slice(11, 23);
  const label = err.paint(COLOURS[name] ?? 'dim', name.padEnd(5));
  return `${clock} ${label} ${printable(String(message))}${rest.join('')}`;
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/**
 * What of the engine's events is worth a line; a pass that found nothing new is not, nor a wait
 * that goes on. `opOf`: the op that a guest's lane is at.
 */
export function createEventLogger(
  log: Log,
  opOf: (vmid: Vmid) => OpId | undefined,
): (event: EngineEvent) => void {
  const waits = new WaitNews();
  let lastSummary = '';
  return (event) => {
    switch (event.kind) {
      case 'op':
        waits.noteStep(event.record.vmid);
        return logRecord(log, event.record);
      case 'waiting': {
        const { vmid, wait } = event;
        if (wait === null || !waits.isNew(vmid, wait)) return undefined;
        const { code, message, upid } = wait;
        return log.info({ op_id: opOf(vmid), vmid, code, upid }, `waits: ${message}`);
      }
      case 'pass': {
        const { status, held_back } = summarise(event.plan);
        const summary = passText(event.plan);
        const fields = {
          correlation_id: event.passId,
          duration_ms: Math.round(event.durationMs),
          ...status,
          held_back,
        };
        const isNew = summary !== lastSummary;
        lastSummary = summary;
        return isNew ? log.info(fields, summary) : log.debug(fields, summary);
      }
      case 'problem':
        return logProblem(log, event.problem, event.vmid === undefined ? {} : { vmid: event.vmid });
      case 'halted': {
        const { code, message } = failureOf(event.error);
        return log.fatal({ code }, message);
      }
      default:
        return assertNever(event);
    }
  };
}

export function logProblem(
  log: Log,
  { code, message }: Problem,
  fields: Readonly<Record<string, unknown>> = {},
): void {
  log.warn({ code, ...fields }, message);
}

function logRecord(log: Log, record: OpRecord): void {
  const { op_id, vmid, correlation_id, upid, attempt, origin, error } = record;
  const fields = {
    op_id,
    vmid,
    origin,
    attempt,
    ...(correlation_id === undefined ? {} : { correlation_id }),
    ...(upid === undefined ? {} : { upid }),
    ...(error === undefined ? {} : { code: error.code }),
  };
  const text = `${record.kind} ${record.state}`;
  if (error === undefined) log.info(fields, text);
  else log.error(fields, `${text}: ${error.message}`);
}

/** What was not read may be as it should be: it is told apart. */
function passText({ entries }: Plan): string {
  const all = counted(entries.length, 'guest');
  const unread = entries.filter(({ status }) => status === 'unknown');
  const open = entries.filter(({ status }) => status !== 'in_sync' && status !== 'unknown');
  const texts = [
    namedText(open, ['is not in sync', 'are not in sync']),
    namedText(unread, ['was not read', 'were not read']),
  ].flatMap((text) => text ?? []);
  if (texts.length > 0) return texts.join('; ').replace(/^\d+/, (many) => `${many} of ${all}`);
  return entries.length === 1 ? `${all} is in sync` : `all ${all} are in sync`;
}

function namedText(
  entries: Plan['entries'],
  [one, many]: readonly [one: string, many: string],
): string | null {
  if (entries.length === 0) return null;
  const vmids = entries.slice(0, 20).map(({ vmid }) => vmid);
  return `${entries.length} ${entries.length === 1 ? one : many}: ${vmids.join(', ')}`;
}
