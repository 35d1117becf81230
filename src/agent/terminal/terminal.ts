/**
 * Where a command writes. Data goes to stdout, everything else to stderr. A reader that has gone
 * away (`| head`) ends the writing, never the work. Colour only where somebody sees it.
 */
import type { WriteStream } from 'node:tty';

export type Colour = 'red' | 'green' | 'yellow' | 'cyan' | 'dim' | 'bold';

const SGR: Readonly<Record<Colour, number>> = {
  bold: 1,
  dim: 2,
  red: 31,
  green: 32,
  yellow: 33,
  cyan: 36,
};

/** A terminal that does not say, or says 0: what most people have at least. */
const DEFAULT_COLUMNS = 100;
const DEFAULT_ROWS = 24;

export interface Channel {
  readonly isTerminal: boolean;
  /** Infinity where nobody looks: files and pipes get lines in full. */
  readonly columns: number;
  /** Of the screen; Infinity where there is none. */
  readonly rows: number;
  /** One line, or several; the newline at the end is added. */
  line(text: string): void;
  /** As it is, with what moves the cursor. */
  text(text: string): void;
  paint(colour: Colour, text: string): string;
  /** Ended by the reader, or by a failed write; followers stop on it. */
  readonly closed: AbortSignal;
  /** Once all is written, or can no more be: why it could not, null where only the reader left. */
  finish(): Promise<Error | null>;
}

export interface Terminal {
  readonly out: Channel;
  readonly err: Channel;
}

type Stream = NodeJS.WritableStream & Partial<Pick<WriteStream, 'isTTY' | 'columns' | 'rows'>>;

export function createTerminal(
  streams: { readonly out: Stream; readonly err: Stream },
  env: Readonly<Record<string, string | undefined>>,
): Terminal {
  // NO_COLOR counts when it is set to anything but nothing (no-color.org).
  const mayColour = (env['NO_COLOR'] ?? '') === '' && env['TERM'] !== 'dumb';
  const isUnicode = /utf-?8/i.test(env['LC_ALL'] || env['LC_CTYPE'] || env['LANG'] || '');
  return {
    out: createChannel(streams.out, { mayColour, isUnicode }),
    err: createChannel(streams.err, { mayColour, isUnicode }),
  };
}

/** Nobody reads any more, and that is all it means. */
const READER_GONE: ReadonlySet<string> = new Set(['EPIPE', 'ECONNRESET']);

interface Habits {
  readonly mayColour: boolean;
  /** Else a terminal is sent ASCII; a file or a pipe always gets UTF-8. */
  readonly isUnicode: boolean;
}

function createChannel(stream: Stream, { mayColour, isUnicode }: Habits): Channel {
  const closed = new AbortController();
  const isTerminal = stream.isTTY === true;
  let failure: Error | null = null;
  let last: Promise<unknown> = Promise.resolve();
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (!READER_GONE.has(error.code ?? '')) failure ??= error;
    closed.abort();
  });
  const write = (text: string): void => {
    if (closed.signal.aborted) return;
    const sent = isTerminal && !isUnicode ? inAscii(text) : text;
    last = new Promise((resolve) => stream.write(sent, resolve));
  };
  return {
    isTerminal,
    closed: closed.signal,
    get columns() {
      return isTerminal ? stream.columns || DEFAULT_COLUMNS : Number.POSITIVE_INFINITY;
    },
    get rows() {
      return isTerminal ? stream.rows || DEFAULT_ROWS : Number.POSITIVE_INFINITY;
    },
    line: (text) => write(`${text}\n`),
    text: write,
    async finish() {
      await last;
      return failure;
    },
    paint(colour, text) {
      return isTerminal && mayColour ? `\u001B[${SGR[colour]}m${text}\u001B[0m` : text;
    },
  };
}

/**
 * A text that somebody else chose, safe to print on one line: control characters (C0, C1, DEL),
 * line separators and direction overrides are shown as escapes.
 */
export function printable(text: string): string {
  return text.replaceAll(
    /[\p{Cc}\u2028\u2029\u061C\u200E\u200F\u202A-\u202E\u2066-\u2069]/gu,
    escapeCharacter,
  );
}

function escapeCharacter(character: string): string {
  const code = character.codePointAt(0) ?? 0;
  if (character === '\n') return '\\n';
  if (character === '\t') return '\\t';
  if (character === '\r') return '\\r';
  return code < 0x100
    ? `\\x${code.toString(16).padStart(2, '0')}`
    : `\\u${code.toString(16).padStart(4, '0')}`;
}

/** Our own signs, each as one ASCII character, so that tables stay straight. */
const ASCII: Readonly<Record<string, string>> = {
  '→': '>',
  '…': '~',
  '✓': '+',
  '✗': 'x',
  '·': '.',
  '–': '-',
  '‖': '=',
};
const SPINNER = '|/-\\';

/** For a terminal whose locale is not UTF-8: `?` for what is not our own. */
function inAscii(text: string): string {
  return text.replaceAll(/[^\p{ASCII}]/gu, (character) => {
    const isSpinner = character >= '\u2800' && character <= '\u28FF';
    const turn = (character.codePointAt(0) ?? 0) % SPINNER.length;
    return isSpinner ? (SPINNER[turn] ?? '') : (ASCII[character] ?? '?');
  });
}
