/**
 * `POST /v1/ops`: one envelope, as bytes. What it says is read by whoever accepts it, from
 * exactly these bytes; nothing here parses them.
 */
import type { FastifyInstance } from 'fastify';
import { sendProblem } from './app.ts';
import { describeOp } from './op-document.ts';
import type { ControlPorts } from './ports.ts';
import { problemOf } from './problem.ts';
import { readWholeOp } from './whole-op.ts';

const HINT =
  '`pve-reconciler sign` shows how a signed op looks; docs/SECURITY.md says what is refused';

export function addEnvelopeRoute(app: FastifyInstance, ports: ControlPorts): void {
  const { acceptEnvelope, onRefused, ledger } = ports;
  if (acceptEnvelope === undefined) return;
  // In a scope of its own: its parser of bodies is for this route only.
  void app.register(async (scope) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => {
      done(null, body);
    });
    scope.post('/v1/ops', async (request, reply) => {
      const bytes = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
      const result = await acceptEnvelope(bytes);
      if (result.kind === 'refused') {
        const { code, message, keyids = [] } = result;
        const ids = { request_id: request.id };
        onRefused({ code, message, keyids, ids, peer: request.socket.remoteAddress ?? 'socket' });
        const hint = code === 'invalid_request' ? { hint: HINT } : {};
        return sendProblem(problemOf({ ...result, ...hint }, ids), reply);
      }
      if (result.kind === 'accepted') {
        // Its one record: a hub may send a thousand a second, and nothing is read from disk.
        const view = ledger.findOp(result.opId);
        if (view !== null) return reply.code(202).send(describeOp([view.first], null));
      }
      return reply.send(await readWholeOp(result.opId, ports));
    });
  });
}
