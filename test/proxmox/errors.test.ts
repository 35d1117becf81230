import { describe, expect, it } from 'vitest';
import {
  classifyExit,
  isUnreachable,
  readNoResponse,
  readRefusal,
} from '../../src/proxmox/errors.ts';
import { readRequest, writeRequest } from '../../src/proxmox/request.ts';
import type { NoResponse, Response } from '../../src/proxmox/transport.ts';
import { readSteps, type Step } from './transcripts.ts';

const steps = readSteps();

function toResponse(step: Step): Response {
  const { status, reason, contentType, text } = step;
  return { kind: 'response', status, reason, contentType, text };
}

function toBody(step: Step): Record<string, unknown> | null {
  const { body } = step;
  return typeof body === 'object' && body !== null ? { ...body } : null;
}

function refuse(step: Step): ReturnType<typeof readRefusal> {
  const method = step.method === 'POST' || step.method === 'PUT' ? step.method : 'GET';
  return readRefusal({ ...readRequest(step.path), method }, toResponse(step), toBody(step));
}

/** Numbers of guests and made-up values out, so that one line stands for one kind of error. */
function describeKind(step: Step): string {
  const failure = refuse(step);
  if (failure === null) return '';
  const words = failure.problem.message
    .replace(/ \[\d+ \w+ .*\]$/, '')
    .replace(/\b\d{3,9}\b/g, 'N');
  return `${failure.problem.code.padEnd(20)} ${failure.effect.padEnd(6)} ${step.status} ${words}`;
}

describe('the error taxonomy over every recorded answer', () => {
  it('has a code for each recorded error, and a success for each recorded success', async () => {
    const kinds = new Set(steps.map(describeKind).filter((line) => line !== ''));
    const table = `${[...kinds].sort().join('\n')}\n`;
    expect(table).not.toContain('internal_error');
    await expect(table).toMatchFileSnapshot('error-taxonomy.golden.txt');
  });

  it('takes every answer below 400 as a success, and no other', () => {
    for (const step of steps) {
      const { transcript, path } = step;
      expect({ transcript, path, isSuccess: refuse(step) === null }).toEqual({
        transcript,
        path,
        isSuccess: step.status < 300,
      });
    }
  });

  it('keeps what PVE said: reason phrase, message and errors', () => {
    for (const step of steps.filter((each) => each.status >= 400)) {
      const message = refuse(step)?.problem.message ?? '';
      expect(message).toContain(step.reason);
      expect(message).not.toContain('\n');
      const errors = toBody(step)?.['errors'] ?? {};
      for (const [name, text] of Object.entries(errors)) {
        expect(message).toContain(`${name}: ${String(text).split('\n')[0]?.trim()}`);
      }
    }
  });

  it('has a code for every recorded exit status of a task that failed', async () => {
    const exits = new Set<string>();
    for (const { body } of steps) {
      const data: unknown = Reflect.get(Object(body), 'data');
      const exit: unknown = Reflect.get(Object(data), 'exitstatus');
      if (typeof exit === 'string' && !/^(?:OK|WARNINGS: \d+|unexpected status)$/.test(exit)) {
        exits.add(exit);
      }
    }
    const lines = [...exits].map((exit) => `${classifyExit(exit).padEnd(20)} ${exit}`);
    await expect(`${lines.sort().join('\n')}\n`).toMatchFileSnapshot('exit-statuses.golden.txt');
  });
});

function answer(status: number, reason: string, text = ''): Response {
  return { kind: 'response', status, reason, contentType: 'text/plain', text };
}

describe('errors that were read in the source, not recorded', () => {
  const start = writeRequest(
    'POST',
    '/nodes/{node}/qemu/{vmid}/status/start',
    { node: 'n', vmid: 100 },
    {},
  );

  it.each([
    [500, 'got no worker upid - start failed', 'task_lost', 'maybe'],
    [500, 'cluster not ready - no quorum?', 'service_unavailable', 'none'],
    [500, 'something nobody has seen before', 'task_failed', 'maybe'],
    [595, 'Connection refused', 'service_unavailable', 'maybe'],
    [596, 'Connection timed out', 'timeout', 'maybe'],
    [599, 'Too many redirections', 'service_unavailable', 'maybe'],
    [502, 'Bad Gateway', 'service_unavailable', 'maybe'],
    [503, 'Service Unavailable', 'service_unavailable', 'maybe'],
    [301, 'Moved Permanently', 'service_unavailable', 'none'],
    [404, 'Not Found', 'not_found', 'none'],
    [413, 'Request Entity Too Large', 'invalid_request', 'none'],
  ])('%s %s is %s, effect %s', (status, reason, code, effect) => {
    const failure = readRefusal(start, answer(status, reason), null);
    expect({ code: failure?.problem.code, effect: failure?.effect }).toEqual({ code, effect });
  });

  it.each([
    [500, 'something nobody has seen before', 'service_unavailable'],
    [500, 'VM 100 qmp command failed - got timeout', 'service_unavailable'],
    [596, 'Connection timed out', 'service_unavailable'],
    [501, "Method 'GET /version' not implemented", 'service_unavailable'],
    [401, 'No ticket', 'unauthorized'],
    [403, 'Permission check failed', 'forbidden'],
    [500, "hostname lookup 'pve9' failed", 'not_found'],
  ])('a look that is answered %s %s is %s', (status, reason, code) => {
    const failure = readRefusal(readRequest('/version'), answer(status, reason), null);
    expect(failure?.problem.code).toBe(code);
  });

  it('an error inside a 200 is an error, and may have had an effect', () => {
    const inside = answer(200, 'OK');
    const failure = readRefusal(start, inside, { data: null, errors: { vmid: 'bad' } });
    expect(failure).toMatchObject({ effect: 'maybe', errors: { vmid: 'bad' } });
    expect(
      readRefusal(start, inside, { data: null, message: 'VM 100 not running\n' }),
    ).toMatchObject({
      problem: { code: 'conflict' },
      effect: 'maybe',
    });
  });

  it('a message of a megabyte is cut', () => {
    const huge = { data: null, message: `${' '.repeat(500_000)}x${'\n '.repeat(300_000)}y` };
    const failure = readRefusal(start, answer(500, 'odd'), huge);
    expect(failure?.problem.message.length).toBeLessThan(3_000);
  });

  it('a page of HTML does not become the message', () => {
    const page: Response = {
      ...answer(503, 'Service Unavailable', '<html><body>secret plans</body></html>'),
      contentType: 'text/html',
    };
    const failure = readRefusal(start, page, null);
    expect(failure?.problem.message).toBe(
      'Service Unavailable [503 POST /nodes/n/qemu/100/status/start]',
    );
  });
});

describe('requests without an answer', () => {
  const read = readRequest('/version');
  const write = writeRequest('POST', '/nodes/n/qemu/100/status/start', {}, {});
  it.each<[NoResponse['cause'], boolean, string, string]>([
    ['connect', false, 'service_unavailable', 'none'],
    ['untrusted', false, 'tls_untrusted', 'none'],
    ['timeout', true, 'timeout', 'maybe'],
    ['cut', true, 'service_unavailable', 'maybe'],
    ['cut', false, 'service_unavailable', 'none'],
    ['too_large', true, 'service_unavailable', 'maybe'],
  ])('%s (sent: %s) is %s, effect %s', (cause, wasSent, code, effect) => {
    const exchange: NoResponse = { kind: 'no_response', cause, wasSent, message: 'why' };
    const failure = readNoResponse(write, exchange);
    expect({ code: failure.problem.code, effect: failure.effect }).toEqual({ code, effect });
    expect(isUnreachable(exchange)).toBe(true);
    const seen = cause === 'untrusted' ? 'tls_untrusted' : 'service_unavailable';
    expect(readNoResponse(read, exchange).problem.code).toBe(seen);
  });
});
