/**
 * `sign`: a signed op on stdout. With `--add` another signature to one that is there: its content
 * is shown on stderr first, since whoever signs should see what.
 */
import { randomBytes } from 'node:crypto';
import { basename } from 'node:path';
import { createValueSemantics } from '../../proxmox/values/same-value.ts';
import { parseDurationMs } from '../../reconcile/desired.ts';
import type { GuestKind } from '../../reconcile/guest.ts';
import { parseVmid } from '../../reconcile/ids.ts';
import { OP_KINDS, type SetConfigParams } from '../../reconcile/op.ts';
import { type CommandContext, usageError } from '../command-line/command.ts';
import { EXIT, type ExitCode } from '../errors.ts';
import { readSigningKey } from '../hub/agent-key.ts';
import { addSignature, type Envelope, envelopeText } from '../hub/dsse.ts';
import { readEnvelope } from '../hub/envelope-file.ts';
import {
  LIFETIME_MAX_MS,
  OP_PAYLOAD_TYPE,
  PAYLOAD_STRICTNESS,
  parseOpPayload,
  type SignedOp,
} from '../hub/op-payload.ts';
import { parseStrictJson } from '../hub/strict-json.ts';
import { type Channel, printable } from '../terminal/terminal.ts';

export interface SignOptions {
  readonly key: readonly string[];
  readonly keyid?: string;
  readonly add?: string;
  readonly agent?: string;
  readonly params?: string;
  readonly expires: string;
  readonly hold?: string;
  readonly idempKey?: string;
  readonly correlationId?: string;
  readonly ifPower?: string;
  readonly ifDigest?: string;
}

interface OpNames {
  readonly kind: string | undefined;
  readonly vmid: string | undefined;
}

const VMID_HINT = 'a name means a guest on its node only: sign for its number';

interface Draft {
  readonly envelope: Envelope;
  readonly op: SignedOp;
}

export async function runSign(
  { terminal: { out, err } }: CommandContext,
  { kind, vmid, ...options }: SignOptions & OpNames,
): Promise<ExitCode> {
  const { add, key: keyFiles, keyid } = options;
  if (keyid !== undefined && keyFiles.length > 1) throw usageError('--keyid goes with one --key');
  if (add !== undefined && kind !== undefined) throw usageError('--add takes the op as it is');
  const asked = add === undefined ? draft({ ...options, kind, vmid }) : await readEnvelope(add);
  let { envelope } = asked;
  const why = objection(asked.op);
  if (why !== null) throw usageError(`every agent would refuse it: ${why}`);
  if (add !== undefined) showPayload(err, envelope);
  for (const file of keyFiles) {
    const { privateKey } = await readSigningKey(file, 'invalid_request');
    envelope = addSignature(envelope, { keyid: keyid ?? keyidOf(file), privateKey });
  }
  out.line(envelopeText(envelope));
  return EXIT.ok;
}

/** `hub-1` of `/keys/hub-1.key.pem`. */
function keyidOf(file: string): string {
  return basename(file).replace(/(?:\.key)?\.pem$/, '');
}

function draft(options: SignOptions & OpNames): Draft {
  const { kind, vmid, agent } = options;
  if (kind === undefined || vmid === undefined) {
    throw usageError('expected KIND and VMID, or --add FILE');
  }
  if (parseVmid(vmid) === null) {
    throw usageError(`VMID: expected a vmid, found ${JSON.stringify(vmid)}`, VMID_HINT);
  }
  if (!OP_KINDS.some((known) => known === kind)) {
    const known = OP_KINDS.join(', ');
    throw usageError(`KIND: expected one of ${known}, found ${JSON.stringify(kind)}`);
  }
  if (agent === undefined) throw usageError('--agent: which agent is it for?');
  const nowMs = Date.now();
  const lifetimeMs = parseDurationMs(options.expires) ?? Number.NaN;
  if (!(lifetimeMs > 0 && lifetimeMs <= LIFETIME_MAX_MS)) {
    throw usageError('--expires: expected a duration of at most 24h, like 10m');
  }
  const text = JSON.stringify({
    idemp_key: options.idempKey ?? randomBytes(16).toString('hex'),
    agent,
    issued_at: new Date(nowMs).toISOString(),
    expires_at: new Date(nowMs + lifetimeMs).toISOString(),
    kind,
    vmid: Number(vmid),
    params: readParams(options.params),
    ...optional('correlation_id', options.correlationId),
    ...optional('hold', options.hold),
    ...optional('precondition', readPrecondition(options)),
  });
  const payload = Buffer.from(text);
  const parsed = parseOpPayload(payload);
  if (parsed.kind === 'invalid') throw usageError(parsed.reason);
  const envelope = { payloadType: OP_PAYLOAD_TYPE, payload, signatures: [] };
  return { envelope, op: parsed.op };
}

/** Why an agent refuses it, whichever kind the guest is; null: one of the two may take it. */
function objection({ action }: SignedOp): string | null {
  if (action.kind !== 'set_config') return null;
  const { set, delete: deleted } = action.params;
  if (Object.keys(set).length + deleted.length === 0) return 'set_config names no key';
  const qemu = refusalOf('qemu', action.params);
  const lxc = refusalOf('lxc', action.params);
  if (qemu === null || lxc === null) return null;
  return qemu === lxc ? qemu : `as qemu: ${qemu}; as lxc: ${lxc}`;
}

function refusalOf(kind: GuestKind, { set, delete: deleted }: SetConfigParams): string | null {
  const semantics = createValueSemantics();
  const secret = [...Object.keys(set), ...deleted].find((key) => semantics.isWriteOnly(kind, key));
  if (secret !== undefined) return `${secret}: a secret is set by desired state only`;
  for (const [key, value] of Object.entries(set)) {
    const why = semantics.refusal(kind, key, value);
    if (why !== null) return `${key}: ${why}`;
  }
  return null;
}

function readParams(text = '{}'): unknown {
  // As strictly as the agent: made anew from what was read, a key or a digit would be lost unseen.
  const json = parseStrictJson(Buffer.from(text), PAYLOAD_STRICTNESS);
  if (json.kind === 'json') return json.value;
  throw usageError(`--params: expected a JSON object: ${json.reason}`);
}

function readPrecondition({ ifPower, ifDigest }: SignOptions): object | undefined {
  if (ifPower === undefined && ifDigest === undefined) return undefined;
  return { ...optional('power', ifPower), ...optional('digest', ifDigest) };
}

function optional(name: string, value: unknown): object {
  return value === undefined ? {} : { [name]: value };
}

function showPayload(err: Channel, { payload, signatures }: Envelope): void {
  err.line(`signing: ${printable(payload.toString())}`);
  const keyids = signatures.map(({ keyid }) => keyid || '(no keyid)').join(', ');
  err.line(`signed so far, as claimed: ${printable(keyids) || 'by nobody'}`);
}
