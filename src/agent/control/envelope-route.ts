/**
 * `POST /v1/ops`: one envelope, as bytes. What it says is read by whoever accepts it, from
 * exactly these bytes; nothing here parses them.
 */
import type { FastifyInstance } from 'fastify';
import type { ErrorCode } from '../../reconcile/errors.ts';
import { goneSignal, sendProblem } from './app.ts';
import { describeOp } from './op-document.ts';
import type { ControlPorts } from './ports.ts';
import { problemOf } from './problem.ts';
import type { ReadingTurns } from './reading-turns.ts';
import { readWholeOp } from './whole-op.ts';

/** Where the next step of an op's sender is another than that of who types a command. */
const SENDER_HINTS: Partial<Readonly<Record<ErrorCode, string>>> = {
  invalid_request:
    'send an envelope as `pve-reconciler sign` makes it (docs/SECURITY.md): the detail says what does not fit',
  not_found: 'sign it for a guest that is on this node, or wanted there',
  conflict: 'change the desired state, or put a `hold` into the payload',
  timeout: 'send it again: PVE did not answer in time',
};

export function addEnvelopeRoute(
  app: FastifyInstance,
  ports: ControlPorts,
  turns: ReadingTurns,
): void {
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
        const { code, message, hint = SENDER_HINTS[code], keyids = [] } = result;
        const ids = { request_id: request.id };
        onRefused({ code, message, keyids, ids, peer: request.socket.remoteAddress ?? 'socket' });
        return sendProblem(problemOf({ code, message, hint }, ids), reply);
      }
      if (result.kind === 'accepted') {
        // Its one record: a hub may send a thousand a second, and nothing is read from disk.
        const view = ledger.findOp(result.opId);
        if (view !== null) return reply.code(202).send(describeOp([view.first], null));
      }
      const gone = goneSignal(reply);
      const op = await turns.take(() => readWholeOp(result.opId, ports, gone), gone);
      return reply.send(op);
    });
  });
}
