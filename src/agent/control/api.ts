/** Every route of the control API (CONTRACT 8). */
import { z } from 'zod';
import {
  agentDocument,
  correlationId,
  guestDocument,
  guestList,
  holdBody,
  opDocument,
  opList,
  pauseDocument,
  planDocumentSchema,
  readiness,
  resumeBody,
  startBody,
  stopBody,
  taskLogDocument,
  vmidText,
} from './documents.ts';
import { defineRoute, WHO } from './route.ts';

/** What fits a page and a screen; more comes with `after`. */
const OPS_LIMIT_DEFAULT = 50;
export const OPS_LIMIT_MAX = 1000;
/** More guests than a node has; a bound on the work one request may ask for. */
const REFS_MAX = 1000;

const ref = z.string().min(1).max(255);
const guestParams = z.strictObject({ ref: ref.describe('vmid, name, or a prefix of one') });
const opParams = z.strictObject({
  op_id: z.string().min(1).max(16).describe('an op id, or a prefix of one'),
});

export const API = {
  listOps: defineRoute({
    method: 'GET',
    path: '/v1/ops',
    summary: 'Ops, newest first',
    listeners: WHO.readers,
    query: z.strictObject({
      state: z.enum(['in_flight', 'failed', 'all']).default('all'),
      vmid: vmidText.exactOptional(),
      limit: z.coerce.number().int().min(1).max(OPS_LIMIT_MAX).default(OPS_LIMIT_DEFAULT),
      after: z.string().max(16).exactOptional().describe('the op the page before ended with'),
    }),
    answer: opList,
  }),
  getOp: defineRoute({
    method: 'GET',
    path: '/v1/ops/{op_id}',
    summary: 'One op with all its records',
    listeners: WHO.readers,
    params: opParams,
    answer: opDocument,
  }),
  getTaskLog: defineRoute({
    method: 'GET',
    path: '/v1/ops/{op_id}/task-log',
    summary:
      "The last line of its running task's log: PVE is asked, at most every 2 s for one task",
    listeners: WHO.operators,
    params: opParams,
    answer: taskLogDocument,
  }),
  listGuests: defineRoute({
    method: 'GET',
    path: '/v1/guests',
    summary: 'Every guest that PVE lists or somebody wants',
    listeners: WHO.readers,
    answer: guestList,
  }),
  getGuest: defineRoute({
    method: 'GET',
    path: '/v1/guests/{ref}',
    summary: 'One guest',
    listeners: WHO.readers,
    params: guestParams,
    answer: guestDocument,
  }),
  startGuest: defineRoute({
    method: 'POST',
    path: '/v1/guests/{ref}/start',
    summary: 'Start it',
    listeners: WHO.operators,
    params: guestParams,
    body: startBody,
    answer: opDocument,
    status: 202,
  }),
  stopGuest: defineRoute({
    method: 'POST',
    path: '/v1/guests/{ref}/stop',
    summary: 'Stop it: gracefully, unless `params` say otherwise',
    listeners: WHO.operators,
    params: guestParams,
    body: stopBody,
    answer: opDocument,
    status: 202,
  }),
  restartGuest: defineRoute({
    method: 'POST',
    path: '/v1/guests/{ref}/restart',
    summary: 'Stop it and start it again, as one op',
    listeners: WHO.operators,
    params: guestParams,
    body: stopBody,
    answer: opDocument,
    status: 202,
  }),
  holdGuest: defineRoute({
    method: 'POST',
    path: '/v1/guests/{ref}/hold',
    summary: 'Keep reconciling away from it',
    listeners: WHO.operators,
    params: guestParams,
    body: holdBody,
    answer: guestDocument,
    status: 202,
  }),
  resumeGuest: defineRoute({
    method: 'POST',
    path: '/v1/guests/{ref}/resume',
    summary: 'End its hold, and forget its failures',
    listeners: WHO.operators,
    params: guestParams,
    body: resumeBody,
    answer: guestDocument,
    status: 202,
  }),
  cancelOp: defineRoute({
    method: 'POST',
    path: '/v1/ops/{op_id}/cancel',
    summary: 'End an op that has not begun; one in flight answers 409',
    listeners: WHO.operators,
    params: opParams,
    answer: opDocument,
  }),
  reconcile: defineRoute({
    method: 'POST',
    path: '/v1/reconcile',
    summary: 'One pass now; its ops carry `pass_id` as their correlation id',
    listeners: WHO.operators,
    body: z.strictObject({ refs: z.array(ref).max(REFS_MAX).exactOptional() }),
    answer: z.looseObject({ pass_id: correlationId }),
    status: 202,
  }),
  pause: defineRoute({
    method: 'POST',
    path: '/v1/pause',
    summary: 'Stop reconciling; operators and signatures still act',
    listeners: WHO.operators,
    body: holdBody,
    answer: pauseDocument,
  }),
  resume: defineRoute({
    method: 'POST',
    path: '/v1/resume',
    summary: 'Go on reconciling',
    listeners: WHO.operators,
    body: resumeBody,
    answer: pauseDocument,
  }),
  getPlan: defineRoute({
    method: 'GET',
    path: '/v1/plan',
    summary: 'The plan now: looks at the node, changes nothing',
    listeners: WHO.readers,
    query: z.strictObject({
      ref: z
        .union([ref.transform((one) => [one]), z.array(ref).max(REFS_MAX)])
        .exactOptional()
        .describe('only these guests; may be repeated'),
    }),
    answer: planDocumentSchema,
  }),
  getAgent: defineRoute({
    method: 'GET',
    path: '/v1/agent',
    summary: 'The agent, its last pass, and the health of what it stands on',
    listeners: WHO.readers,
    answer: agentDocument,
  }),
  getHealth: defineRoute({
    method: 'GET',
    path: '/healthz',
    summary: 'Liveness: it answers',
    listeners: WHO.everybody,
    answer: z.looseObject({ status: z.literal('ok') }),
  }),
  getReadiness: defineRoute({
    method: 'GET',
    path: '/readyz',
    summary: 'Readiness with reasons; 503 while there are any',
    listeners: WHO.everybody,
    answer: readiness,
  }),
} as const;
