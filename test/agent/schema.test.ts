import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { runSchema } from '../../src/agent/commands/schema.ts';
import { createTerminal } from '../../src/agent/terminal/terminal.ts';

test('the schema takes what is a document, refuses what is none, and offers PVE’s options', async () => {
  const out = new PassThrough();
  const terminal = createTerminal({ out, err: new PassThrough() }, {});
  const signal = new AbortController().signal;
  await runSchema({ terminal, isJson: true, configFile: '', signal });
  const json = JSON.parse(String(out.read()));
  const schema = z.fromJSONSchema(json);
  const takes = (guest: unknown, vmid = '101'): boolean =>
    schema.safeParse({ version: 1, guests: { [vmid]: guest } }).success;

  expect(takes({ kind: 'qemu', config: { cores: 4, tags: ['a'], net7: 'x', balloon: null } })).toBe(
    true,
  );
  expect(takes({ power: 'on' })).toBe(false);
  expect(takes({ config: { cores: {} } })).toBe(false);
  expect(takes({ config: { net7: {} } })).toBe(false);
  expect(takes({}, '42')).toBe(false);
  const options = json.properties.guests.additionalProperties.properties.config.properties;
  expect(options.net0.description).toBe('qemu, lxc');
  expect(options.bios.description).toBe('qemu: seabios, ovmf');
  expect(options.net31).toBeUndefined();
});
