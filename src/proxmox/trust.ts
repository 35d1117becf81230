/**
 * Which server is believed to be the node, and the connection to it. A certificate is always
 * checked, on every new connection and before a byte of a request is sent: against a CA, or for
 * being exactly the pinned one. There is no third way.
 *
 * TLS sessions are not resumed: a resumed session would not show a certificate that has changed.
 */
import { X509Certificate } from 'node:crypto';
import { isIP, type Socket } from 'node:net';
import * as tls from 'node:tls';
import type { buildConnector } from 'undici';
import { ReconcilerError } from '../reconcile/errors.ts';
import { keepAliveAsServed } from './keep-alive.ts';

export type TlsTrust =
  /** PEM text of one or more CAs. */
  | { readonly kind: 'ca'; readonly ca: string; readonly serverName?: string | null }
  /** The CAs of the operating system. */
  | { readonly kind: 'system'; readonly serverName?: string | null }
  /** SHA-256 of the leaf certificate, as PVE shows it (`AA:BB:…`). */
  | {
      readonly kind: 'fingerprint';
      readonly fingerprint: string;
      readonly serverName?: string | null;
    };

/** A node on its own host answers in milliseconds; across a network a lost SYN is sent again. */
const CONNECT_TIMEOUT_MS = 5_000;

/** What Node tells its own users to try; which CAs count here is said in the configuration. */
const NODE_ADVICE = /; if the root CA is installed locally.*$/;

const PEM_BLOCK = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** Why no connection came to be: nothing has been sent. */
export class ConnectError extends Error {
  readonly isUntrusted: boolean;

  constructor(message: string, isUntrusted: boolean) {
    super(message);
    this.name = 'ConnectError';
    this.isUntrusted = isUntrusted;
  }
}

/** Throws `config_invalid` for a fingerprint or CA that cannot be one. */
export function createConnector(trust: TlsTrust, host: string): buildConnector.connector {
  const check = trustOptions(trust, host);
  return (target, callback) => {
    const socket = tls.connect({
      ...check.options,
      host: unbracket(target.hostname),
      port: target.port === '' ? 443 : Number(target.port),
      ALPNProtocols: ['http/1.1'],
    });
    let isSettled = false;
    const settle = (error: ConnectError | null): void => {
      if (isSettled) return;
      isSettled = true;
      clearTimeout(timer);
      if (error === null) return callback(null, keepAliveAsServed(socket));
      socket.destroy();
      callback(error, null);
    };
    const timer = setTimeout(() => {
      settle(new ConnectError(`no connection within ${CONNECT_TIMEOUT_MS} ms`, false));
    }, CONNECT_TIMEOUT_MS);
    socket.setNoDelay(true);
    socket.once('secureConnect', () => settle(check.refusal(socket)));
    // Stays for the life of the socket: an error after `destroy` must not be an uncaught one.
    socket.on('error', (error) => settle(describeConnectError(error, socket)));
    socket.once('close', () => settle(new ConnectError('closed during the TLS handshake', false)));
  };
}

interface TrustCheck {
  readonly options: tls.ConnectionOptions;
  refusal(socket: tls.TLSSocket): ConnectError | null;
}

function trustOptions(trust: TlsTrust, host: string): TrustCheck {
  const name = trust.serverName ?? unbracket(host);
  const base = isIP(name) === 0 ? { servername: name } : {};
  if (trust.kind === 'fingerprint') {
    const pinned = parseFingerprint(trust.fingerprint);
    return {
      // The pin is the check, and a stricter one: `refusal` below sees every connection first.
      options: { ...base, rejectUnauthorized: false },
      refusal: (socket) => refuseUnpinned(socket, pinned),
    };
  }
  const ca = trust.kind === 'system' ? tls.getCACertificates('system') : checkCa(trust.ca);
  return {
    options: {
      ...base,
      // Said outright, it holds whatever NODE_TLS_REJECT_UNAUTHORIZED says.
      rejectUnauthorized: true,
      secureContext: tls.createSecureContext({ ca }),
      checkServerIdentity: (_, certificate) => tls.checkServerIdentity(name, certificate),
    },
    refusal: () => null,
  };
}

/** OpenSSL passes over what it cannot read: a CA that is broken must not just be missing. */
function checkCa(text: string): string {
  try {
    const blocks = text.match(PEM_BLOCK) ?? [];
    if (blocks.length === 0) throw new Error('no certificate in PEM form');
    for (const block of blocks) void new X509Certificate(block).serialNumber;
    return text;
  } catch (cause) {
    throw new ReconcilerError('config_invalid', 'no CA certificate that can be read', {
      hint: 'On a PVE host the CA is /etc/pve/pve-root-ca.pem.',
      cause,
    });
  }
}

function refuseUnpinned(socket: tls.TLSSocket, pinned: string): ConnectError | null {
  const shown = socket.getPeerX509Certificate()?.fingerprint256 ?? 'none';
  if (shown === pinned) return null;
  return new ConnectError(`the certificate's SHA-256 is ${shown}, not the pinned ${pinned}`, true);
}

/** Upper-case hex pairs with colons. */
function parseFingerprint(text: string): string {
  const digits = text.replaceAll(':', '').toUpperCase();
  if (!/^[0-9A-F]{64}$/.test(digits)) {
    throw new ReconcilerError('config_invalid', 'the fingerprint is not a SHA-256 (32 hex pairs)', {
      hint: '`pvenode cert info` shows it as Fingerprint.',
    });
  }
  return digits.match(/../g)?.join(':') ?? digits;
}

function describeConnectError(error: Error, socket: Socket): ConnectError {
  const isVerifyError = socket instanceof tls.TLSSocket && Boolean(socket.authorizationError);
  return new ConnectError(oneLine(error), isVerifyError);
}

/** `ECONNREFUSED` of several addresses is an AggregateError without a message of its own. */
function oneLine(error: Error): string {
  if (error instanceof AggregateError && error.message === '') {
    return error.errors.map((each) => (each instanceof Error ? each.message : '')).join('; ');
  }
  return error.message.replace(NODE_ADVICE, '');
}

function unbracket(host: string): string {
  return host.replace(/^\[(.*)\]$/, '$1');
}
