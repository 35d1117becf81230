/** An envelope from a file or from stdin (`-`), for the commands of the hub's side. */
import { ReconcilerError } from '../../reconcile/errors.ts';
import { requireTextFile } from '../config/text-file.ts';
import { ENVELOPE_MAX_BYTES, type Envelope, parseEnvelope } from './dsse.ts';
import { OP_PAYLOAD_TYPE, parseOpPayload, type SignedOp } from './op-payload.ts';

const HINT = '`pve-reconciler sign` writes one';

/** Throws `invalid_request` for what is not an envelope with an op, `forbidden`. Signatures are not checked. */
export async function readEnvelope(
  source: string,
): Promise<{ readonly envelope: Envelope; readonly op: SignedOp }> {
  const parsed = parseEnvelope(await readBytes(source));
  if (parsed.kind === 'invalid') throw notAnEnvelope(source, parsed.reason);
  const { envelope } = parsed;
  if (envelope.payloadType !== OP_PAYLOAD_TYPE) {
    throw notAnEnvelope(source, `the payload type is not ${OP_PAYLOAD_TYPE}`);
  }
  const content = parseOpPayload(envelope.payload);
  if (content.kind === 'invalid') throw notAnEnvelope(source, content.reason);
  return { envelope, op: content.op };
}

function notAnEnvelope(source: string, reason: string): ReconcilerError {
  const name = source === '-' ? 'stdin' : source;
  return new ReconcilerError('invalid_request', `${name}: ${reason}`, { hint: HINT });
}

async function readBytes(source: string): Promise<Buffer> {
  if (source === '-') return await readStdin();
  const code = 'invalid_request';
  const options = { maxBytes: ENVELOPE_MAX_BYTES, code, hint: HINT } as const;
  return Buffer.from(await requireTextFile(source, options));
}

/** Nothing longer is an envelope, whatever goes on coming. */
async function readStdin(): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of process.stdin) {
    chunks.push(Buffer.from(chunk));
    bytes += chunk.length;
    if (bytes > ENVELOPE_MAX_BYTES)
      throw notAnEnvelope('-', `longer than ${ENVELOPE_MAX_BYTES} bytes`);
  }
  return Buffer.concat(chunks);
}
