/**
 * Every way in which an envelope may be wrong: what it is, the code it is refused with, its bytes.
 * Read against `RING`, the virtual epoch, guests 100 to 139, and `desired` for two of them.
 */
import { VIRTUAL_EPOCH_MS } from '../../support/virtual-clock.ts';
import { bytesOf, makeKey, signBody, signerOf } from './signing.ts';
import { AGENT } from './small-agent.ts';

export const hub = makeKey('hub-1');
export const second = makeKey('hub-2');
const narrow = makeKey('narrow');
const old = makeKey('old');
export const stranger = makeKey('stranger');

export const RING = [
  signerOf(hub),
  signerOf(second),
  signerOf(narrow, { kinds: ['start'], first: 200, last: 299 }),
  signerOf(old, { notAfterMs: VIRTUAL_EPOCH_MS - 1 }),
  signerOf(makeKey('hub-5')),
];
export const DESIRED = {
  120: { power: 'stopped' },
  121: { power: 'running', config: { cores: 2 } },
} as const;

export const MINUTE_MS = 60_000;
export const at = (offsetMs: number): string => new Date(VIRTUAL_EPOCH_MS + offsetMs).toISOString();

export const OP = {
  idemp_key: 'key-1',
  agent: AGENT,
  issued_at: at(0),
  expires_at: at(10 * MINUTE_MS),
  kind: 'start',
  vmid: 101,
  params: {},
};
export const DISK = { kind: 'set_config', params: { set: { scsi1: 'local-lvm:8' } } };
export const sealed = (fields: object, keys = [hub]): Buffer =>
  bytesOf(signBody(JSON.stringify({ ...OP, ...fields }), keys));
/** The op's text with something in it that JSON.stringify would not write. */
export const sealedText = (text: string): Buffer => bytesOf(signBody(text, [hub]));

const good = signBody(JSON.stringify(OP), [hub]);
const flipped = Buffer.from(good.payload, 'base64');
flipped[20] = (flipped[20] ?? 0) ^ 1;

export const BAD_ENVELOPES: readonly (readonly [string, string, Buffer])[] = [
  ['no signature', 'signature_invalid', bytesOf({ ...good, signatures: [] })],
  ['a signature by an unknown key', 'signature_invalid', sealed({}, [stranger])],
  [
    "an unknown key's signature under a known keyid",
    'signature_invalid',
    sealed({}, [{ ...stranger, keyid: 'hub-1' }]),
  ],
  ['a signature by a key past its not_after', 'signature_invalid', sealed({}, [old])],
  ['a key that may not sign that vmid', 'forbidden', sealed({}, [narrow])],
  ['a key that may not sign that kind', 'forbidden', sealed({ kind: 'stop', vmid: 200 }, [narrow])],
  ['one key twice for a threshold of two', 'gate_denied', sealed(DISK, [hub, hub])],
  ['one signature for what is irreversible', 'gate_denied', sealed(DISK)],
  [
    'one key under two keyids for a threshold of two',
    'gate_denied',
    sealed(DISK, [hub, { ...hub, keyid: '' }]),
  ],
  [
    'another payload type',
    'invalid_request',
    bytesOf(signBody(JSON.stringify(OP), [hub], 'application/json')),
  ],
  [
    'a payload type put on afterwards',
    'signature_invalid',
    bytesOf({ ...signBody(JSON.stringify(OP), [hub], 'text/x'), payloadType: good.payloadType }),
  ],
  [
    'a payload changed by one bit',
    'signature_invalid',
    bytesOf({ ...good, payload: flipped.toString('base64') }),
  ],
  ['another audience', 'wrong_audience', sealed({ agent: 'pve2' })],
  [
    'an expired one',
    'expired',
    sealed({ issued_at: at(-10 * MINUTE_MS), expires_at: at(-2 * MINUTE_MS) }),
  ],
  ['one not yet valid', 'invalid_request', sealed({ issued_at: at(2 * MINUTE_MS) })],
  ['a lifetime over 24 h', 'invalid_request', sealed({ expires_at: at(24 * 60 * MINUTE_MS + 1) })],
  ['one that ends before it begins', 'invalid_request', sealed({ expires_at: at(-1) })],
  ['a time that is none', 'invalid_request', sealed({ issued_at: '2026-02-30T00:00:00Z' })],
  ['10 MB', 'invalid_request', Buffer.alloc(10_000_000, 97)],
  ['nothing', 'invalid_request', Buffer.alloc(0)],
  ['deep JSON', 'invalid_request', Buffer.from('['.repeat(60_000) + ']'.repeat(60_000))],
  [
    'deep JSON that is signed',
    'invalid_request',
    sealedText(`${'{"a":'.repeat(9_000)}1${'}'.repeat(9_000)}`),
  ],
  [
    'a key twice in the envelope',
    'invalid_request',
    Buffer.from(JSON.stringify(good).replace('{', '{"payloadType":"x",')),
  ],
  [
    'a key twice in the payload',
    'invalid_request',
    sealedText(JSON.stringify(OP).replace('{', '{"vmid":102,')),
  ],
  [
    'a key twice in the payload, spelt in two ways',
    'invalid_request',
    sealedText(JSON.stringify(OP).replace('{', '{"\\u0076mid" : 102,')),
  ],
  ['an unknown field', 'invalid_request', sealed({ dry_run: true })],
  ['an unknown field in params', 'invalid_request', sealed({ params: { now: true } })],
  ['base64 without its padding', 'invalid_request', bytesOf({ ...good, payload: 'e30' })],
  ['base64 with spare bits', 'invalid_request', bytesOf({ ...good, payload: 'e31=' })],
  ['base64 with a line break', 'invalid_request', bytesOf({ ...good, payload: 'e3\n0=' })],
  ['base64 of URLs', 'invalid_request', bytesOf({ ...good, payload: '_-8=' })],
  [
    'a signature that is not base64',
    'invalid_request',
    bytesOf({ ...good, signatures: [{ keyid: 'hub-1', sig: '!' }] }),
  ],
  [
    'a short signature',
    'signature_invalid',
    bytesOf({ ...good, signatures: [{ keyid: 'hub-1', sig: 'AAAA' }] }),
  ],
  ['bytes that are not UTF-8', 'invalid_request', Buffer.from([0x7b, 0xff, 0x7d])],
  ['a byte order mark', 'invalid_request', Buffer.from(`\uFEFF${JSON.stringify(good)}`)],
  ['a lone surrogate', 'invalid_request', sealedText(JSON.stringify({ ...OP, agent: '\uD800' }))],
  ['an unknown kind', 'invalid_request', sealed({ kind: 'destroy' })],
  ['params of another kind', 'invalid_request', sealed({ params: { timeout_s: 5 } })],
  [
    'a timeout below a second',
    'invalid_request',
    sealed({ kind: 'stop', params: { timeout_s: 0 } }),
  ],
  ['a config without a key', 'invalid_request', sealed({ kind: 'set_config', params: {} })],
  [
    'a key set and deleted',
    'invalid_request',
    sealed({ kind: 'set_config', params: { set: { cores: 2 }, delete: ['cores'] } }),
  ],
  [
    'a value PVE would refuse',
    'invalid_request',
    sealed({ kind: 'set_config', params: { set: { cores: 'many' } } }),
  ],
  [
    'a secret',
    'invalid_request',
    sealed({ kind: 'set_config', params: { set: { cipassword: 'x' } } }),
  ],
  [
    'a key named as what every object has',
    'invalid_request',
    sealedText(
      JSON.stringify({ ...OP, kind: 'set_config' }).replace(
        '"params":{}',
        '"params":{"set":{"__proto__":"x"}}',
      ),
    ),
  ],
  [
    'a number that would be written as another text',
    'invalid_request',
    sealedText(
      JSON.stringify({ ...OP, kind: 'set_config', params: { set: { cores: 2 } } }).replace(
        '"cores":2',
        '"description":1.10',
      ),
    ),
  ],
  ['a vmid as text', 'invalid_request', sealed({ vmid: '101' })],
  ['a vmid that is none', 'invalid_request', sealed({ vmid: 99 })],
  ['an idempotency key with a space', 'invalid_request', sealed({ idemp_key: 'a b' })],
  ['a hold of nothing', 'invalid_request', sealed({ hold: '0s' })],
  ['a guest that is not here', 'not_found', sealed({ vmid: 999 })],
  ['an op that desired state would undo', 'conflict', sealed({ vmid: 120 })],
  [
    'a stop that desired state would undo',
    'conflict',
    sealed({ kind: 'stop', vmid: 121, params: {} }),
  ],
  [
    'a config value that desired state would undo',
    'conflict',
    sealed({ kind: 'set_config', vmid: 121, params: { set: { cores: 4 } } }),
  ],
  [
    'more signatures than anybody asks for',
    'invalid_request',
    bytesOf({ ...good, signatures: Array.from({ length: 17 }, () => good.signatures[0]) }),
  ],
  [
    'signatures that would be tried with every key',
    'invalid_request',
    bytesOf({
      ...good,
      signatures: Array.from({ length: 16 }, () => ({ sig: good.signatures[0]?.sig })),
    }),
  ],
  ['an array', 'invalid_request', Buffer.from('[]')],
  ['null', 'invalid_request', Buffer.from('null')],
  ['a payload that is no object', 'invalid_request', sealedText('[]')],
  ['a payload of nothing', 'invalid_request', sealedText('')],
];
