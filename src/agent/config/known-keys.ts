/** Which keys a schema knows at a path: what somebody who mistyped one wants to read. */
import * as z from 'zod';
import type { KeyPath } from './schema-issue.ts';

/** Empty: it is no mapping with keys of its own. */
export function knownKeys(schema: z.core.$ZodType, path: KeyPath): readonly string[] {
  let inner: z.core.$ZodType | null = unwrapped(schema);
  for (const part of path) inner = inner === null ? null : unwrapped(childOf(inner, part));
  return inner instanceof z.core.$ZodObject ? Object.keys(inner._zod.def.shape) : [];
}

function childOf(schema: z.core.$ZodType, part: string | number): z.core.$ZodType | null {
  if (schema instanceof z.core.$ZodObject) return schema._zod.def.shape[part] ?? null;
  if (schema instanceof z.core.$ZodArray) return schema._zod.def.element;
  return schema instanceof z.core.$ZodRecord ? schema._zod.def.valueType : null;
}

/** Without what only says that it may be missing, or null. */
function unwrapped(schema: z.core.$ZodType | null): z.core.$ZodType | null {
  const isWrapped =
    schema instanceof z.core.$ZodDefault ||
    schema instanceof z.core.$ZodPrefault ||
    schema instanceof z.core.$ZodNullable ||
    schema instanceof z.core.$ZodOptional;
  return isWrapped ? unwrapped(schema._zod.def.innerType) : schema;
}
