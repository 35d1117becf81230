/** Which keys a schema knows at a path: what somebody who mistyped one wants to read. */
import * as z from 'zod';
import type { KeyPath } from './schema-issue.ts';

type Schema = z.core.$ZodType;

/** Empty: it is no mapping with keys of its own. */
export function knownKeys(schema: Schema, path: KeyPath): readonly string[] {
  let inner: Schema | null = unwrapped(schema);
  for (const part of path) inner = inner === null ? null : unwrapped(childOf(inner, part));
  return inner instanceof z.ZodObject ? Object.keys(inner.shape) : [];
}

function childOf(schema: Schema, part: string | number): Schema | null {
  if (schema instanceof z.ZodObject) return schema.shape[part] ?? null;
  if (schema instanceof z.ZodArray) return schema.element;
  return schema instanceof z.ZodRecord ? schema.valueType : null;
}

/** Without what only says that it may be missing, or null. */
function unwrapped(schema: Schema | null): Schema | null {
  const isWrapped =
    schema instanceof z.ZodDefault ||
    schema instanceof z.ZodPrefault ||
    schema instanceof z.ZodNullable ||
    schema instanceof z.ZodOptional ||
    schema instanceof z.ZodExactOptional;
  return isWrapped ? unwrapped(schema.unwrap()) : schema;
}
