/**
 * One round of the cluster resource manager: it takes commands, adds and drops services, and moves
 * each by what is requested and what the LRM reported for its uid (PVE-FACTS 33–39).
 */
import type { HaManager, Requested } from './ha.ts';
import { newService, newUid, type Service } from './ha-service.ts';

const DEFAULT_MAX_RELOCATE = 1;

export function runCrmRound(ha: HaManager): void {
  // Without quorum nothing in /etc/pve can be written; requests wait.
  if (ha.isCrmDown || !ha.isQuorate) return;
  ha.lastCrmS = ha.node.clock.nowS();
  ha.rounds += 1;
  const wasDisarmed = stepArming(ha);
  takeCommands(ha);
  if (ha.armed.kind === 'disarmed' || ha.armed.kind === 'disarming') return;
  syncServices(ha);
  for (const [sid, service] of ha.services) {
    // In the round that arms again everything is as it was (transcript ha_disarm).
    if (service.state === 'freeze' && wasDisarmed) continue;
    const next = decide(ha, sid, service);
    if (next !== null) ha.services.set(sid, next);
  }
}

/** True when this round has just armed again. */
function stepArming(ha: HaManager): boolean {
  const { armed, wanted } = ha;
  if (armed.kind === 'standby') ha.armed = { kind: 'armed' };
  if (wanted === 'arm') {
    ha.wanted = null;
    ha.armed = { kind: 'armed' };
    return armed.kind === 'disarmed' || armed.kind === 'disarming';
  }
  if (armed.kind === 'disarming') ha.armed = { kind: 'disarmed', mode: armed.mode };
  if (wanted !== null) {
    ha.wanted = null;
    ha.armed = { kind: 'disarming', mode: wanted };
    for (const [sid, service] of ha.services) {
      const left = { ...service, isRunning: false };
      ha.services.set(sid, wanted === 'freeze' ? newService('freeze') : left);
    }
  }
  return false;
}

/** A stop sets the requested state, unless the service is frozen: then it is lost. */
function takeCommands(ha: HaManager): void {
  const { commands } = ha;
  ha.commands = [];
  for (const { sid, timeoutS } of commands) {
    const resource = ha.resources.get(sid);
    const service = ha.services.get(sid);
    if (resource === undefined || service === undefined) continue;
    ha.services.set(sid, { ...service, cmd: ['stop', String(timeoutS)] });
    // Disabled stays disabled; everything else becomes stopped.
    if (service.state !== 'freeze' && resource.requested !== 'disabled') {
      resource.requested = 'stopped';
    }
  }
}

function syncServices(ha: HaManager): void {
  for (const [sid, resource] of ha.resources) {
    if (resource.requested === 'ignored') ha.services.delete(sid);
    else if (!ha.services.has(sid)) {
      ha.services.set(sid, newService(isUp(resource.requested) ? 'started' : 'request_stop'));
    }
  }
  for (const sid of ha.services.keys()) if (!ha.resources.has(sid)) ha.services.delete(sid);
}

function isUp(requested: Requested): boolean {
  return requested === 'started' || requested === 'enabled';
}

/** The service after this round, or null when nothing changes. */
function decide(ha: HaManager, sid: string, service: Service): Service | null {
  const requested = ha.requireResource(sid).requested;
  const result = ha.results.get(service.uid);
  switch (service.state) {
    case 'stopped':
      return isUp(requested) ? newService('started') : null;
    case 'started':
      return decideStarted(ha, sid, service);
    case 'request_stop':
      if (result === undefined) return null;
      if (result.exitCode !== 0) return newService('error');
      return newService(isUp(requested) ? 'started' : 'stopped');
    case 'freeze':
      return newService(isUp(requested) ? 'started' : 'request_stop');
    case 'error':
      return requested === 'disabled' ? newService('stopped') : null;
    default:
      return null;
  }
}

function decideStarted(ha: HaManager, sid: string, service: Service): Service | null {
  const resource = ha.requireResource(sid);
  if (!isUp(resource.requested)) {
    return { ...newService('request_stop'), timeout: service.cmd?.[1] ?? null };
  }
  const result = ha.results.get(service.uid);
  if (result === undefined) return null;
  if (result.exitCode === 0) return { ...service, uid: newUid(), isRunning: true, failures: 0 };
  const failures = service.failures + 1;
  const maxRelocate = Number(resource.extra.get('max_relocate') ?? DEFAULT_MAX_RELOCATE);
  if (failures > maxRelocate) return { ...newService('error'), failures };
  return { ...newService('started'), failures };
}
