/**
 * The bytes a node sends back, head and all, over a real connection: each becomes a reply within
 * the client's own bounds.
 */
import { once } from 'node:events';
import { createServer } from 'node:tls';
import { PveClient } from '../../../src/proxmox/client.ts';
import { readRequest, writeRequest } from '../../../src/proxmox/request.ts';
import { PveToken } from '../../../src/proxmox/token.ts';
import { readSteps } from '../../proxmox/transcripts.ts';
import { createAuthority } from '../../simulator/certificates.ts';
import { going, realClock } from '../../support/pve-client.ts';
import { type FuzzTarget, insist } from '../target.ts';

const SECRET = '11111111-2222-3333-4444-555555555555';
const LIMITS = { headersMs: 2_000, totalMs: 4_000 };

const authority = createAuthority();
const { certificatePem: cert, keyPem: key } = authority.issue('pve1');
let answer: Uint8Array = Buffer.alloc(0);
const server = createServer({ cert, key }, (socket) => {
  socket.on('error', () => socket.destroy());
  socket.once('data', () => socket.end(answer));
});
server.listen(0, '127.0.0.1');
await once(server, 'listening');
server.unref();
const bound = server.address();
const port = typeof bound === 'object' && bound !== null ? bound.port : 0;

function head(status: string, body: string, more = ''): string {
  const type = 'content-type: application/json;charset=UTF-8';
  return `HTTP/1.1 ${status}\r\n${type}\r\ncontent-length: ${body.length}\r\n${more}\r\n${body}`;
}

export const target: FuzzTarget = {
  seeds: () => [
    head('200 OK', '{"data":{"version":"9.0.3"}}'),
    head('500 VM is locked (backup)', '{"data":null,"message":"VM is locked (backup)\\n"}'),
    head('400 Parameter verification failed.', '{"data":null,"errors":{"digest":"no"}}'),
    'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{"dat\r\n4\r\na":1\r\n1\r\n}\r\n0\r\n\r\n',
    ...readSteps()
      .filter(({ status }) => status >= 400)
      .slice(0, 20)
      .map(({ status, reason, text }) => head(`${status} ${reason}`, text)),
  ],
  words: [
    'HTTP/1.1 ',
    '100 Continue',
    '\r\n\r\n',
    'content-length: ',
    'connection: close',
    '596 ',
    SECRET,
  ],
  async run(input) {
    answer = input;
    const client = new PveClient({
      url: `https://127.0.0.1:${port}`,
      token: PveToken.parse(`agent@pve!a=${SECRET}`),
      tls: { kind: 'ca', ca: authority.certificatePem },
      clock: { ...realClock, sleep: async () => undefined },
      random: { next: () => 0 },
      limits: LIMITS,
    });
    try {
      const read = await client.request(readRequest('/version'), going);
      const route = '/nodes/{node}/qemu/{vmid}/config';
      const write = writeRequest(
        'POST',
        route,
        { node: 'pve1', vmid: 101 },
        { cipassword: 'geheim' },
      );
      const written = await client.request(write, going);
      for (const reply of [read, written]) {
        if (reply.kind === 'answer') continue;
        insist(!JSON.stringify(reply).includes(SECRET), 'no failure tells the token');
        insist(reply.problem.message.length < 5_000, 'a failure is not as long as PVE likes');
      }
      const said = JSON.stringify(written);
      insist(written.kind === 'answer' || !said.includes('geheim'), 'no failure tells a password');
    } finally {
      await client.close();
    }
  },
};
