/** The generated tables, and the script that makes them from what every PVE host carries. */
import { expect, test } from 'vitest';
import { generate, readSchema } from '../../../deploy/generate-options.ts';
import { findOption, optionNames } from '../../../src/proxmox/values/options.ts';

const API_DOC = `const apiSchema = [
  {"path": "/nodes", "children": [{"path": "/nodes/{node}", "children": [
    {"path": "/nodes/{node}/lxc", "children": []},
    {"path": "/nodes/{node}/qemu", "children": [{"path": "/nodes/{node}/qemu/{vmid}", "children": [
      {"path": "/nodes/{node}/qemu/{vmid}/config", "info": {"PUT": {"parameters": {"properties": {
        "vmid": {"type": "integer"},
        "cores": {"type": "integer", "minimum": 1, "description": "How [many] \\"cores\\"]."},
        "vga": {"type": "string", "format": {
          "type": {"type": "string", "default_key": 1, "optional": 1, "enum": ["std"]},
          "tag": {"type": "string", "pattern": "(?^u:[\\\\w\\\\-]{,8}\\\\-x)"}
        }},
        "rng0": {"type": "string", "format": "pve-qm-rng"}
      }}}}}
    ]}]}
  ]}]}
];
let method2cmd = {GET: [1]};
`;

test('the table holds the facts of the schema and none of its prose', () => {
  const formats = { 'pve-qm-rng': { source: { type: 'string' } }, other: {} };
  const table: unknown = JSON.parse(generate(readSchema(API_DOC), 'qemu', formats, {}));
  expect(table).toEqual({
    generated: expect.any(String),
    options: {
      cores: { type: 'integer', minimum: 1 },
      rng0: { type: 'string', format: 'pve-qm-rng' },
      vga: {
        type: 'string',
        properties: {
          tag: { type: 'string', pattern: '(?:[\\p{L}\\p{M}\\p{N}_\\-]{0,8}-x)', isRequired: true },
          type: { type: 'string', enum: ['std'], isDefaultKey: true },
        },
      },
    },
    formats: { 'pve-qm-rng': { properties: { source: { type: 'string', isRequired: true } } } },
  });
});

test('formats the schema only names are kept from the table that is there', () => {
  const kept = { formats: { 'pve-qm-rng': { properties: { source: { type: 'string' } } } } };
  const table: unknown = JSON.parse(generate(readSchema(API_DOC), 'qemu', {}, kept));
  expect(table).toMatchObject(kept);
});

test('a schema without the request is refused', () => {
  expect(() => generate(readSchema('{"/version": {}}'), 'lxc', {}, {})).toThrow('no PUT');
});

test('a numbered option has as many numbers as PVE has', () => {
  expect(findOption('qemu', 'net31')?.family).toBe('net');
  for (const key of ['net32', 'net99', 'net01', 'net', 'net[n]', 'scsi31', 'ide4', 'digest']) {
    expect(findOption('qemu', key), key).toBeNull();
  }
  expect(findOption('lxc', 'mp255')?.family).toBe('mp');
});

test('every pattern of the table compiles and every alias is a property', () => {
  for (const kind of ['qemu', 'lxc'] as const) {
    for (const key of optionNames(kind)) {
      const option = findOption(kind, key);
      const properties = option?.format?.properties ?? new Map();
      for (const facts of [option?.facts, ...properties.values()]) {
        expect(() => new RegExp(facts?.pattern ?? '', 'u')).not.toThrow();
        if (facts?.alias !== undefined) expect(properties.has(facts.alias)).toBe(true);
      }
    }
  }
});
