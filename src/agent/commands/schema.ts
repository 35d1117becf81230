/** `schema`: the JSON Schema of desired-state files, for editors. */
import { z } from 'zod';
import { documentSchema } from '../../reconcile/desired.ts';
import { type CommandContext, printJson } from '../command.ts';
import { EXIT, type ExitCode } from '../errors.ts';

export async function runSchema({ terminal }: CommandContext): Promise<ExitCode> {
  const { $schema, ...schema } = z.toJSONSchema(documentSchema, { io: 'input' });
  printJson(terminal, {
    $schema,
    title: 'pve-reconciler desired state',
    ...schema,
  });
  return EXIT.ok;
}
