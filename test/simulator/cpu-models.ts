/** What a VM's `cpu` option may name beyond what its property string allows. */

const MODELS = new Set(
  (
    '486 athlon Broadwell Broadwell-IBRS Broadwell-noTSX Broadwell-noTSX-IBRS Cascadelake-Server ' +
    'Cascadelake-Server-noTSX Conroe Cooperlake core2duo coreduo EPYC EPYC-IBPB EPYC-Genoa ' +
    'EPYC-Milan EPYC-Rome GraniteRapids Haswell Haswell-IBRS Haswell-noTSX ' +
    'Haswell-noTSX-IBRS host Icelake-Client Icelake-Client-noTSX Icelake-Server ' +
    'Icelake-Server-noTSX IvyBridge ' +
    'IvyBridge-IBRS KnightsMill kvm32 kvm64 max Nehalem Nehalem-IBRS Opteron_G1 Opteron_G2 ' +
    'Opteron_G3 Opteron_G4 Opteron_G5 Penryn pentium pentium2 pentium3 phenom qemu32 qemu64 ' +
    'SandyBridge SandyBridge-IBRS SapphireRapids Skylake-Client Skylake-Client-IBRS ' +
    'Skylake-Client-noTSX-IBRS Skylake-Server Skylake-Server-IBRS Skylake-Server-noTSX-IBRS ' +
    'Westmere Westmere-IBRS x86-64-v2 x86-64-v2-AES x86-64-v3 x86-64-v4'
  ).split(' '),
);

const FLAGS =
  'aes, amd-no-ssb, amd-ssbd, hv-evmcs, hv-tlbflush, ibpb, md-clear, nested-virt, pcid, pdpe1gb, ' +
  'spec-ctrl, ssbd, virt-ssbd';

/** null: fits; else PVE's words. `EPYC-v4` and the like are versions of a model. */
export function checkCpu(pairs: ReadonlyMap<string, string>): string | null {
  const type = pairs.get('cputype');
  const isKnown =
    type === undefined ||
    type.startsWith('custom-') ||
    MODELS.has(type) ||
    MODELS.has(type.replace(/-v\d+$/, ''));
  if (!isKnown) {
    return `Built-in cputype '${type}' is not defined (missing 'custom-' prefix?)`;
  }
  const known = FLAGS.split(', ');
  const flags = (pairs.get('flags') ?? '').split(';').filter((flag) => flag !== '');
  if (flags.every((flag) => known.includes(flag.slice(1)))) return null;
  return `VM-specific CPU flags must be a subset of: ${FLAGS}`;
}
