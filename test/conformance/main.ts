/**
 * Runs the conformance suite against a node one has.
 *
 *   npm run test:pve -- --url https://HOST:8006 --token-file FILE --ca FILE [--node NAME]
 *                       [--server-name NAME] [--fingerprint AA:BB:…]
 *                       [--allow-writes --guest VMID]
 *
 * Without --allow-writes nothing is changed. With it the guest named, and no other, is configured,
 * started and stopped, and left stopped: take one that nobody needs. Exit 1 if a check failed.
 */
import { readFileSync } from 'node:fs';
import type { TlsTrust } from '../../src/proxmox/trust.ts';
import { readOptions } from '../support/script-options.ts';
import { connect } from './connect.ts';
import { type CheckResult, runSuite } from './suite.ts';

const USAGE = `npm run test:pve -- --url URL --token-file FILE --ca FILE
         [--node NAME] [--server-name NAME] [--allow-writes --guest VMID]`;
const { values, refuse } = readOptions(USAGE, {
  url: { type: 'string' },
  'token-file': { type: 'string' },
  ca: { type: 'string' },
  fingerprint: { type: 'string' },
  'server-name': { type: 'string' },
  node: { type: 'string' },
  'allow-writes': { type: 'boolean', default: false },
  guest: { type: 'string' },
});
const { url, 'token-file': tokenFile, guest, 'allow-writes': allowWrites } = values;
const tls = readTrust();
if (
  url === undefined ||
  tokenFile === undefined ||
  tls === null ||
  allowWrites !== (guest !== undefined)
) {
  throw refuse('expected a node, a token, whom to trust, and a guest where writes are allowed');
}

const signal = new AbortController().signal;
const token = readFileSync(tokenFile, 'utf8').trim();
const writeTo = guest === undefined ? null : Number(guest);
const connection = await connect({ url, token, tls, node: values.node, writeTo }, signal);
try {
  const results = await runSuite(connection.context, printResult);
  const failed = results.filter((result) => result.kind === 'failed').length;
  const skipped = results.filter((result) => result.kind === 'skipped').length;
  console.log(`${results.length - failed - skipped} held, ${skipped} skipped, ${failed} failed`);
  process.exitCode = failed === 0 ? 0 : 1;
} finally {
  await connection.close();
}

function readTrust(): TlsTrust | null {
  const serverName = values['server-name'] ?? null;
  if (values.fingerprint !== undefined) {
    return { kind: 'fingerprint', fingerprint: values.fingerprint, serverName };
  }
  if (values.ca === undefined) return null;
  if (values.ca === 'system') return { kind: 'system', serverName };
  return { kind: 'ca', ca: readFileSync(values.ca, 'utf8'), serverName };
}

function printResult(result: CheckResult): void {
  const why = result.kind === 'held' ? '' : `: ${result.why}`;
  console.log(`${result.kind.padEnd(8)}${result.name}${why}`);
}
