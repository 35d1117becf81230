/**
 * A certificate authority of its own and a leaf signed by it, made at start with EC keys (RSA would
 * cost the start-up time). Written as DER by hand: the few fields a TLS server needs, nothing else.
 *
 * Invariant: every leaf names 127.0.0.1, localhost and the node, and is signed by the one CA.
 */
import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';

export interface Leaf {
  readonly certificatePem: string;
  readonly keyPem: string;
  /** SHA-256 of the DER form, `AA:BB:…`, as PVE prints it. */
  readonly fingerprint: string;
}

export interface CertificateAuthority {
  readonly certificatePem: string;
  issue(node: string): Leaf;
}

const OID_COMMON_NAME = '550403';
const OID_ECDSA_SHA256 = '2a8648ce3d040302';
const OID_BASIC_CONSTRAINTS = '551d13';
const OID_KEY_USAGE = '551d0f';
const OID_SUBJECT_KEY_ID = '551d0e';
const OID_AUTHORITY_KEY_ID = '551d23';
const OID_ALTERNATIVE_NAME = '551d11';
const OID_EXTENDED_USAGE = '551d25';
const OID_SERVER_AUTH = '2b06010505070301';

const YEAR_MS = 365 * 86_400_000;

function tlv(tag: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  if (content.length < 128) return Buffer.concat([Buffer.from([tag, content.length]), content]);
  const size =
    content.length < 256
      ? [0x81, content.length]
      : [0x82, content.length >> 8, content.length & 255];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
}

const sequence = (...parts: readonly Buffer[]): Buffer => tlv(0x30, ...parts);
const oid = (hex: string): Buffer => tlv(0x06, Buffer.from(hex, 'hex'));
const octets = (content: Buffer): Buffer => tlv(0x04, content);
const bits = (content: Buffer): Buffer => tlv(0x03, Buffer.from([0]), content);
const CRITICAL = tlv(0x01, Buffer.from([0xff]));

function name(commonName: string): Buffer {
  return sequence(tlv(0x31, sequence(oid(OID_COMMON_NAME), tlv(0x0c, Buffer.from(commonName)))));
}

function utcTime(ms: number): Buffer {
  const digits = new Date(ms).toISOString().replaceAll(/[-:T]|\.\d+Z$/g, '');
  return tlv(0x17, Buffer.from(`${digits.slice(2)}Z`));
}

function extension(id: string, value: Buffer, critical = false): Buffer {
  return sequence(oid(id), ...(critical ? [CRITICAL] : []), octets(value));
}

interface Unsigned {
  readonly subject: Buffer;
  readonly issuer: Buffer;
  readonly publicKey: KeyObject;
  readonly extensions: readonly Buffer[];
}

function signCertificate(unsigned: Unsigned, signer: KeyObject): Buffer {
  const algorithm = sequence(oid(OID_ECDSA_SHA256));
  // A positive integer: the top bit cleared, the next one set so that it is never short.
  const serial = randomBytes(16);
  serial[0] = ((serial[0] ?? 0) & 0x3f) | 0x40;
  const now = Date.now();
  const body = sequence(
    tlv(0xa0, tlv(0x02, Buffer.from([2]))),
    tlv(0x02, serial),
    algorithm,
    unsigned.issuer,
    // Two days back: a client whose clock is an hour off must fail on the clock, not here.
    sequence(utcTime(now - 2 * 86_400_000), utcTime(now + 2 * YEAR_MS)),
    unsigned.subject,
    unsigned.publicKey.export({ type: 'spki', format: 'der' }),
    tlv(0xa3, sequence(...unsigned.extensions)),
  );
  return sequence(body, algorithm, bits(sign('sha256', body, signer)));
}

function toPem(der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}

function keyId(key: KeyObject): Buffer {
  return createHash('sha1')
    .update(key.export({ type: 'spki', format: 'der' }))
    .digest();
}

function fingerprintOf(der: Buffer): string {
  const hex = createHash('sha256').update(der).digest('hex').toUpperCase();
  return (hex.match(/../g) ?? []).join(':');
}

function alternativeNames(node: string): Buffer {
  const dns = ['localhost', node].map((host) => tlv(0x82, Buffer.from(host)));
  return sequence(...dns, tlv(0x87, Buffer.from([127, 0, 0, 1])));
}

/** A fresh authority; two calls never trust each other's leaves. */
export function createAuthority(): CertificateAuthority {
  const authority = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const subject = name('Proxmox Virtual Environment (simulated)');
  const authorityId = keyId(authority.publicKey);
  const der = signCertificate(
    {
      subject,
      issuer: subject,
      publicKey: authority.publicKey,
      extensions: [
        extension(OID_BASIC_CONSTRAINTS, sequence(CRITICAL), true),
        extension(OID_KEY_USAGE, tlv(0x03, Buffer.from([1, 0x06])), true),
        extension(OID_SUBJECT_KEY_ID, octets(authorityId)),
      ],
    },
    authority.privateKey,
  );
  return { certificatePem: toPem(der), issue: (node) => issue(node) };

  function issue(node: string): Leaf {
    const key = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const leaf = signCertificate(
      {
        subject: name(node),
        issuer: subject,
        publicKey: key.publicKey,
        extensions: [
          extension(OID_BASIC_CONSTRAINTS, sequence(), true),
          extension(OID_KEY_USAGE, tlv(0x03, Buffer.from([7, 0x80])), true),
          extension(OID_EXTENDED_USAGE, sequence(oid(OID_SERVER_AUTH))),
          extension(OID_ALTERNATIVE_NAME, alternativeNames(node)),
          extension(OID_SUBJECT_KEY_ID, octets(keyId(key.publicKey))),
          extension(OID_AUTHORITY_KEY_ID, sequence(tlv(0x80, authorityId))),
        ],
      },
      authority.privateKey,
    );
    return {
      certificatePem: toPem(leaf),
      keyPem: key.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
      fingerprint: fingerprintOf(leaf),
    };
  }
}
