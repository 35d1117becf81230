/**
 * Schemas of the few endpoints that are served and that schema.json leaves out, and the evaluation
 * of the permissions a schema states.
 */
import { permissionError } from './api-error.ts';
import { hasPrivilege, type Principal } from './principal.ts';
import { type EndpointSchema, endpointSchema, type PropertySchema } from './schema.ts';

const NODE: PropertySchema = { type: 'string', format: 'pve-node' };
const TEXT: PropertySchema = { type: 'string', optional: 1 };
const FLAG: PropertySchema = { type: 'boolean', optional: 1 };
const SECONDS: PropertySchema = { type: 'integer', optional: 1, minimum: 0 };

const nodeAudit = { check: ['perm', '/nodes/{node}', ['Sys.Audit']] };
const bulk = { permissions: { user: 'all' }, protected: 1, proxyto: 'node' };

const LOCAL: Readonly<Record<string, EndpointSchema>> = {
  'GET /nodes/{node}/time': { proxyto: 'node', permissions: nodeAudit, properties: { node: NODE } },
  'GET /nodes/{node}/storage': {
    protected: 1,
    proxyto: 'node',
    permissions: { user: 'all' },
    properties: { node: NODE },
  },
  'GET /cluster/ha': {
    permissions: { check: ['perm', '/', ['Sys.Audit']] },
    properties: {},
  },
  'POST /nodes/{node}/startall': {
    ...bulk,
    properties: { node: NODE, vms: TEXT, force: FLAG },
  },
  'POST /nodes/{node}/stopall': {
    ...bulk,
    properties: { node: NODE, vms: TEXT, 'force-stop': FLAG, timeout: SECONDS },
  },
  'POST /nodes/{node}/suspendall': { ...bulk, properties: { node: NODE, vms: TEXT } },
};

export function schemaFor(key: string): EndpointSchema | null {
  return LOCAL[key] ?? endpointSchema(key);
}

/** Throws PVE's 403 when the schema's permissions are not met. */
export function requirePermissions(
  schema: EndpointSchema,
  principal: Principal,
  values: ReadonlyMap<string, unknown>,
): void {
  const { check, user } = schema.permissions;
  if (user === 'all' || user === 'world' || check === undefined) return;
  if (principal.isRoot) return;
  const [verb, template, privileges, mode] = check;
  if (verb !== 'perm' || typeof template !== 'string' || !isTexts(privileges)) return;
  const path = template.replaceAll(/\{(\w+)\}/g, (_, name: string) => String(values.get(name)));
  const holds = (name: string): boolean => hasPrivilege(principal, path, name);
  const isMet = mode === 'any' ? privileges.some(holds) : privileges.every(holds);
  if (!isMet) throw permissionError(path, privileges.join('|'));
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}
