import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { fetchCertificate } from '../../../src/agent/doctor/certificate.ts';
import { chooseTrust } from '../../../src/agent/setup/trust-choice.ts';
import { type Simulator, startSimulator } from '../../simulator/start.ts';

let pve: Simulator;
let ca: string;
let leaf: X509Certificate | null;
beforeAll(async () => {
  pve = await startSimulator({});
  ca = readFileSync(pve.caFile, 'utf8');
  leaf = await fetchCertificate(pve.url, null);
});
afterAll(() => pve.stop());

test('a certificate of the cluster itself is checked against its CA', () => {
  expect(chooseTrust(leaf, ca, '/ca.pem')).toEqual({
    settings: { ca_file: '/ca.pem' },
    needsCa: true,
  });
});

test("another one is the system's to judge, by the name it says", () => {
  const choice = chooseTrust(leaf, null, '/ca.pem');
  expect(choice.settings).toMatchObject({ ca_file: 'system' });
  expect(leaf?.subjectAltName).toContain(`DNS:${choice.settings['server_name']}`);
});

test('one that signed itself is pinned', () => {
  const self = new X509Certificate(ca);
  expect(chooseTrust(self, null, '/ca.pem').settings).toEqual({ fingerprint: self.fingerprint256 });
});

test('where nothing answers it is as on a host nobody has changed', () => {
  expect(chooseTrust(null, ca, '/ca.pem').settings).toEqual({ ca_file: '/ca.pem' });
});
