import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { fetchCertificate, type ShownCertificate } from '../../../src/agent/doctor/certificate.ts';
import { chooseTrust, type TrustPlaces } from '../../../src/agent/setup/trust-choice.ts';
import { type Simulator, startSimulator } from '../../simulator/start.ts';

let pve: Simulator;
let places: TrustPlaces;
let shown: ShownCertificate;
beforeAll(async () => {
  pve = await startSimulator({});
  const clusterCa = readFileSync(pve.caFile, 'utf8');
  places = { clusterCa, caFile: '/ca.pem', url: pve.url, node: pve.node };
  const found = await fetchCertificate(pve.url, null);
  if (found === null) throw new Error('the simulator shows no certificate');
  shown = found;
});
afterAll(() => pve.stop());

test('a certificate of the cluster itself is checked against its CA', () => {
  const ours = { settings: { ca_file: '/ca.pem' }, needsCa: true, why: null };
  expect(chooseTrust(shown, places)).toEqual(ours);
});

test('where nothing answers it is as on a host nobody has changed', () => {
  expect(chooseTrust(null, places).settings).toEqual({ ca_file: '/ca.pem' });
});

test('a name is set only where the certificate is not for the host of the url', () => {
  const elsewhere = { ...places, url: 'https://192.0.2.1:8006' };
  expect(chooseTrust(shown, elsewhere).settings).toEqual({
    ca_file: '/ca.pem',
    server_name: pve.node,
  });
});

test("another one is the system's to judge, by the name it says", () => {
  const foreign = { ...shown, isSystemTrusted: true };
  const away = { ...places, clusterCa: null, url: 'https://192.0.2.1:8006' };
  expect(chooseTrust(foreign, away)).toMatchObject({
    settings: { ca_file: 'system', server_name: pve.node },
    needsCa: false,
    why: expect.stringContaining("system's own CAs"),
  });
});

test('one that nobody vouches for, signed by itself or by a stranger, is pinned', () => {
  const { fingerprint256 } = shown.certificate;
  const strange = chooseTrust(shown, { ...places, clusterCa: null });
  expect(strange.settings).toEqual({ fingerprint: fingerprint256 });
  const self = { certificate: new X509Certificate(places.clusterCa ?? ''), isSystemTrusted: false };
  const pinned = chooseTrust(self, { ...places, clusterCa: null });
  expect(pinned.settings).toEqual({ fingerprint: self.certificate.fingerprint256 });
});
