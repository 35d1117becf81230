/** API tokens: `Authorization: PVEAPIToken=USER@REALM!TOKENID=SECRET` (transcript auth_errors). */
import type { PveNode } from './node.ts';
import type { Principal } from './principal.ts';

export type Authentication =
  | { readonly kind: 'known'; readonly principal: Principal }
  | { readonly kind: 'refused'; readonly reason: 'No ticket' | 'Authentication failed!' };

export function authenticate(node: PveNode, header: string | undefined): Authentication {
  // A space does as well as the first "=".
  const match = /^PVEAPIToken[= ](.+)=([^=]+)$/.exec(header ?? '');
  if (match === null) {
    const isToken = header?.startsWith('PVEAPIToken') === true;
    return { kind: 'refused', reason: isToken ? 'Authentication failed!' : 'No ticket' };
  }
  const token = node.tokens.get(match[1] ?? '');
  if (token === undefined || token.secret !== match[2]) {
    return { kind: 'refused', reason: 'Authentication failed!' };
  }
  return { kind: 'known', principal: token.principal };
}
