/**
 * The certificate a server shows, looked at before anybody trusts it: the connection is made for
 * that alone, not a byte of a request is sent on it, and what is found is for people.
 */
import { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import * as tls from 'node:tls';
import { counted } from '../terminal/counted.ts';
import { type Finding, failure, ok, warning } from './finding.ts';

const CONNECT_TIMEOUT_MS = 5_000;
const DAY_MS = 86_400_000;
/** PVE renews its own certificates two weeks before their end; a person needs longer. */
const EXPIRY_WARNING_DAYS = 30;

export interface ShownCertificate {
  readonly certificate: X509Certificate;
  /** Do the operating system's CAs vouch for it? For which name is not looked at. */
  readonly isSystemTrusted: boolean;
}

/** Null: no certificate could be had; why is said by the request that follows. */
export async function fetchCertificate(
  url: string,
  serverName: string | null,
): Promise<ShownCertificate | null> {
  const { hostname, port } = new URL(url);
  const host = hostname.replace(/^\[(.*)\]$/, '$1');
  const name = serverName ?? host;
  return new Promise((resolve) => {
    const socket = tls.connect({
      host,
      port: port === '' ? 443 : Number(port),
      ...(isIP(name) === 0 ? { servername: name } : {}),
      // Looked at, never trusted: nothing is sent.
      rejectUnauthorized: false,
      ca: tls.getCACertificates('system'),
      checkServerIdentity: () => undefined,
      timeout: CONNECT_TIMEOUT_MS,
    });
    const settle = (certificate: X509Certificate | null): void => {
      const isSystemTrusted = socket.authorized;
      socket.destroy();
      resolve(certificate === null ? null : { certificate, isSystemTrusted });
    };
    socket.once('secureConnect', () => settle(socket.getPeerX509Certificate() ?? null));
    socket.once('timeout', () => settle(null));
    socket.on('error', () => settle(null));
  });
}

export interface ExpiryInput {
  readonly certificate: X509Certificate;
  /** `the node's certificate`, `the CA in FILE`. */
  readonly what: string;
  readonly nowMs: number;
  /** It is pinned: another one will not be trusted, however good. */
  readonly isPinned: boolean;
  readonly check?: keyof typeof RENEWAL;
}

/** The node's own can be renewed here, the hub's only by whoever runs it. */
const RENEWAL = {
  certificate: {
    renew: 'renew it: `pvecm updatecerts --force`, or `pvenode acme cert renew`',
    pin: 'trust the CA instead (`ca_file`), or put the new one in: `pvenode cert info`',
  },
  hub: {
    renew: 'ask whoever runs the hub for a new one',
    pin: 'ask whoever runs the hub for a new one, and put it into `hub.fingerprint`',
  },
} as const;

export function expiryFinding(input: ExpiryInput): Finding {
  const { certificate, what, nowMs, isPinned, check = 'certificate' } = input;
  const beginsMs = certificate.validFromDate.getTime();
  const endsMs = certificate.validToDate.getTime();
  const day = certificate.validToDate.toISOString().slice(0, 10);
  const days = Math.floor((endsMs - nowMs) / DAY_MS);
  if (nowMs > endsMs || nowMs < beginsMs) {
    const began = certificate.validFromDate.toISOString();
    return failure(check, {
      message: `${what} is valid from ${began} to ${day}, and not now`,
      means: 'no connection is made with it',
      fix: `check the clock (\`timedatectl\`); then ${RENEWAL[check].renew}`,
    });
  }
  if (days >= EXPIRY_WARNING_DAYS) {
    return ok(check, `${what} is valid until ${day}${isPinned ? ', and pinned' : ''}`);
  }
  return warning(check, {
    message: `${what} ends on ${day}, in ${counted(days, 'day')}`,
    means: isPinned
      ? 'another one will be shown, and the pinned fingerprint will not fit it'
      : 'without a new one no connection is made from then on',
    fix: RENEWAL[check][isPinned ? 'pin' : 'renew'],
  });
}

/** Every certificate of a PEM text; none where it cannot be read (trust says why). */
export function readCertificates(pem: string): readonly X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  try {
    return blocks.map((block) => new X509Certificate(block));
  } catch {
    return [];
  }
}
