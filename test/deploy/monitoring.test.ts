/** What is monitored is there: every metric that an alert or a panel names, every alert explained. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { createMetrics } from '../../src/agent/daemon/metrics.ts';
import { CONDITION_CODES } from '../../src/reconcile/plan.ts';

const root = join(import.meta.dirname, '../..');
const folder = join(root, 'deploy/examples/monitoring');
const alertsFile = join(folder, 'alerts.yaml');

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly annotations: Readonly<Record<string, string>>;
}

interface Dashboard {
  readonly panels: readonly { readonly targets: readonly { readonly expr: string }[] }[];
}

const { groups } = parse(readFileSync(alertsFile, 'utf8')) as { groups: { rules: Rule[] }[] };
const rules = groups.flatMap((group) => group.rules);
const { panels } = JSON.parse(readFileSync(join(folder, 'dashboard.json'), 'utf8')) as Dashboard;

async function ourMetrics(): Promise<ReadonlySet<string>> {
  const metrics = createMetrics({
    clock: { now: () => 0, monotonicMs: () => 0, sleep: () => Promise.resolve() },
    version: '1.2.3',
    ledger: { opsInFlight: () => [], holds: () => new Map(), pause: () => null },
    isReady: () => true,
    hub: () => null,
  });
  const { text } = await metrics.render();
  const families = [...text.matchAll(/^# TYPE (\S+) (\w+)$/gm)];
  const names = families.flatMap(([, name = '', type]) =>
    type === 'histogram' ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name],
  );
  return new Set(names);
}

test('every metric that an alert or a panel names is one of ours', async () => {
  const known = await ourMetrics();
  const queries = [...rules, ...panels.flatMap(({ targets }) => targets)].map(({ expr }) => expr);
  expect(queries.length).toBeGreaterThan(20);
  for (const expr of queries) {
    for (const [name] of expr.matchAll(/\b(?:pve_reconciler|process)_[a-z_]+/g)) {
      expect(known, expr).toContain(name);
    }
  }
});

test('for every alert and every condition docs/OPERATING.md says what to do', () => {
  const guide = readFileSync(join(root, 'docs/OPERATING.md'), 'utf8');
  for (const { alert } of rules) expect(guide).toContain(`\n| \`${alert}\` |`);
  for (const code of CONDITION_CODES)
    expect(guide).toMatch(new RegExp(`^\\|.*\`${code}\`.*\\|`, 'm'));
});

test('a label that an alert or its advice names is left in what the rule gives', () => {
  const guide = readFileSync(join(root, 'docs/OPERATING.md'), 'utf8');
  for (const { alert, expr, annotations } of rules) {
    const [, kept] = /^sum by \(([^)]*)\)/.exec(expr) ?? [];
    const advice = guide.split('\n').find((line) => line.startsWith(`| \`${alert}\` |`)) ?? '';
    const told = [
      ...Object.values(annotations)
        .join()
        .matchAll(/\$labels\.(\w+)/g),
    ];
    const named = [...told, ...advice.matchAll(/the label `(\w+)`/g)].map(([, label]) => label);
    expect(named, alert).toContain('instance');
    if (kept !== undefined) expect(kept.split(', '), alert).toEqual(expect.arrayContaining(named));
  }
});

test("Prometheus' own tool takes the rules, where it is there", () => {
  const checked = spawnSync('promtool', ['check', 'rules', alertsFile], { encoding: 'utf8' });
  if (checked.error !== undefined) return;
  expect(checked.stdout).toContain('SUCCESS');
  expect(checked.status).toBe(0);
});
