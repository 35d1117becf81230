/** GET config and /pending: the same file seen in two ways (PVE-FACTS 23, 26). */
import type { Guest } from './guest.ts';
import { endpointSchema, findProperty } from './schema.ts';

type Value = string | number;

/** Integers and booleans are numbers, everything else is text as written. */
function typed(guest: Guest, key: string, text: string): Value {
  const endpoint = endpointSchema(`PUT /nodes/{node}/${guest.kind}/{vmid}/config`);
  const type = endpoint === null ? undefined : findProperty(endpoint.properties, key)?.type;
  if (type === 'integer' || type === 'boolean') return Number(text);
  if (key === 'cipassword') return '**********';
  // An empty value stands in the file as "key: " and comes back as a blank.
  return text === '' ? ' ' : text;
}

export function configView(guest: Guest, isCurrentOnly: boolean): Record<string, Value> {
  const { config } = guest;
  const values = new Map(config.current);
  if (!isCurrentOnly) {
    for (const key of config.pendingDeletes) {
      // An option whose value is 0 stays visible although it is to be deleted.
      if (values.get(key) !== '0') values.delete(key);
    }
    for (const [key, value] of config.pending) values.set(key, value);
  }
  const view: Record<string, Value> = {};
  for (const [key, text] of values) view[key] = typed(guest, key, text);
  view['digest'] = config.digest;
  return view;
}

export function pendingView(guest: Guest): Record<string, Value>[] {
  const { current, pending, pendingDeletes, digest } = guest.config;
  const rows: Record<string, Value>[] = [];
  for (const [key, text] of current) {
    const next = pending.get(key);
    rows.push({
      key,
      value: typed(guest, key, text),
      ...(next === undefined ? {} : { pending: typed(guest, key, next) }),
      ...(pendingDeletes.has(key) ? { delete: 1 } : {}),
    });
  }
  for (const [key, text] of pending) {
    if (!current.has(key)) rows.push({ key, pending: typed(guest, key, text) });
  }
  rows.push({ key: 'digest', value: digest });
  return rows;
}
