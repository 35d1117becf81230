/** A document of desired state, from its text to its guests. */
import { readFileSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { stringify } from 'yaml';
import { findingText, parsePositioned } from '../../../src/agent/config/positioned-yaml.ts';
import { documentSchema, readDocument } from '../../../src/reconcile/desired.ts';
import { type FuzzTarget, insist } from '../target.ts';

const EXAMPLES = new URL('../../../deploy/examples/desired.d/', import.meta.url);

function read(text: string) {
  return parsePositioned(text, { file: 'f.yaml', schema: documentSchema });
}

export const target: FuzzTarget = {
  seeds: () => [
    ...['web.yaml', 'office.yml', 'containers.json'].map((name) =>
      readFileSync(new URL(name, EXAMPLES), 'utf8'),
    ),
    '{"version":1,"guests":{"101":{"power":"initial","config":{"tags":["a"],"balloon":null}}}}',
    'version: 1\nguests: {101: &a {stop: {mode: stop, timeout: 5m}}, 102: *a}\n',
  ],
  words: [
    '<<: *a',
    '&a ',
    '*a',
    '!!binary ',
    '? ',
    '- ',
    '%YAML 1.2\n---\n',
    '...\n',
    ': |\n',
    ', ',
    '~',
    '0x1F',
  ],
  run(input) {
    const text = input.toString('utf8');
    const parsed = read(text);
    if (parsed.kind === 'invalid') {
      insist(parsed.findings.length > 0, 'a refusal says why');
      const lines = text.split(/\r\n|\n|\r/).length;
      for (const finding of parsed.findings) {
        insist(finding.line >= 0 && finding.line <= lines + 1, 'a finding stands in the file');
        insist(findingText(finding).startsWith('f.yaml'), 'a finding names the file');
      }
      return;
    }
    const guests = readDocument(parsed.value, 'f.yaml');
    for (const { vmid } of guests) {
      insist(parsed.placeOf(['guests', String(vmid)]).line >= 1, 'a guest has a place');
    }
    const again = read(stringify(parsed.value));
    insist(again.kind === 'valid', 'what was read, written out, is valid');
    insist(
      isDeepStrictEqual(readDocument(again.value, 'f.yaml'), guests),
      'what was read, written out, reads the same',
    );
  },
};
