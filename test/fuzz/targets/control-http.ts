/** The bytes anybody may send to the control API: answered or cut off, and never an error of ours. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { openControlWorld, untilAnswered } from '../../agent/control/control-world.ts';
import { signBody } from '../../agent/hub/signing.ts';
import { type FuzzTarget, insist } from '../target.ts';

function request(line: string, body?: string): string {
  const length = body === undefined ? '' : `content-length: ${body.length}\r\n`;
  const type = body === undefined ? '' : 'content-type: application/json\r\n';
  return `${line} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n${type}${length}\r\n${body ?? ''}`;
}

export const target: FuzzTarget = {
  seeds: () => [
    request('GET /v1/guests'),
    request('GET /v1/guests/web'),
    request('GET /v1/ops?state=all&vmid=101&limit=5&after=0000000000000000'),
    request('GET /v1/plan'),
    request('POST /v1/guests/101/start', '{"hold":"1h","actor":"me","params":{}}'),
    request('POST /v1/guests/101/hold', '{"for":"1h","reason":"x"}'),
    request('POST /v1/pause', '{"for":"5m"}'),
    request('POST /v1/reconcile', '{"refs":["web"]}'),
    request('POST /v1/ops', JSON.stringify(signBody('{}', []))),
    request('POST /v1/ops/0000000000000000/cancel', '{}'),
    request('GET /metrics') + request('GET /readyz'),
    'POST /v1/resume HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n',
  ],
  words: [
    '%00',
    '%2e%2e/',
    '\r\n',
    '101',
    'web',
    'POST ',
    'HEAD ',
    'expect: 100-continue\r\n',
    'upgrade: h2c\r\n',
    'transfer-encoding: chunked\r\n',
    'content-length: ',
    'last-event-id: ',
    '/v1/guests/',
    '/v1/ops',
  ],
  async run(input) {
    // An event stream goes on for good.
    if (input.includes('/v1/events')) return;
    await using world = await openControlWorld({ guests: { 101: { running: true } } });
    const socket = connect(world.socket);
    await once(socket, 'connect');
    socket.end(input);
    const answer = await untilAnswered(
      world,
      buffer(socket).catch(() => Buffer.alloc(0)),
    );
    const text = answer.toString('latin1');
    insist(text === '' || text.startsWith('HTTP/1.1 '), 'an answer is HTTP');
    insist(!/^HTTP\/1\.1 500/m.test(text), 'no bytes are an internal error');
    const [error] = world.errors;
    if (error !== undefined) throw error;
  },
};
