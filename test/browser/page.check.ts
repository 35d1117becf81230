/** The web page in a real browser, before a real agent over the model node. `npm run test:browser`. */
import { type Browser, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { API } from '../../src/agent/control/api.ts';
import {
  type ControlWorld,
  openControlWorld,
  type WorldSetup,
} from '../agent/control/control-world.ts';
import { opStory } from '../support/journal-script.ts';
import { findChromium } from './find-chromium.ts';

const SCREENSHOTS = new URL('../../docs/screenshots/', import.meta.url).pathname;
const WINDOW = { width: 1280, height: 900 };

const GUESTS = {
  101: { running: true, config: { name: 'web-1', tags: 'prod;web', cores: '2' } },
  102: { config: { name: 'mail', cores: '4', memory: '2048' } },
  103: { running: true, lock: 'backup', config: { name: 'build' } },
  200: { kind: 'lxc', running: true, config: { name: 'db' } },
} as const;
const DESIRED = {
  101: { power: 'running', mode: 'observe', config: { cores: 4, description: 'front end' } },
  102: { power: 'running', mode: 'observe', config: { memory: 4096 } },
  103: { power: 'stopped' },
};

/** For 5 s, the time from each frame to the next, ascending. */
const MEASURE_FRAMES = `(async () => {
  const gaps = [];
  let last = performance.now();
  const endMs = last + 5000;
  while (last < endMs) {
    await new Promise(requestAnimationFrame);
    gaps.push(performance.now() - last);
    last = performance.now();
  }
  return gaps.sort((a, b) => a - b);
})()`;

let browser: Browser;
beforeAll(async () => {
  browser = await chromium.launch({ executablePath: findChromium(), args: ['--no-sandbox'] });
});
afterAll(() => browser.close());

interface Opened extends AsyncDisposable {
  readonly world: ControlWorld;
  readonly page: Page;
  /** What the browser complained about: the policy, a missing file, an exception. */
  readonly complaints: string[];
  readonly origin: string;
}

async function openPage(
  setup: WorldSetup = { guests: GUESTS, desired: DESIRED },
  colorScheme: 'light' | 'dark' = 'light',
): Promise<Opened> {
  await using opened = new AsyncDisposableStack();
  const addresses = { listen: { host: '127.0.0.1', port: 0 } };
  const world = opened.use(await openControlWorld({ addresses, ...setup }));
  const context = await browser.newContext({ viewport: WINDOW, colorScheme });
  opened.defer(() => context.close());
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on('console', (message) => {
    if (message.type() === 'error') complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(error.message));
  const origin = `http://127.0.0.1:${world.server.ports.listen}`;
  await page.goto(origin);
  await page.locator('#guest-rows tr').first().waitFor();
  const stack = opened.move();
  return { world, page, complaints, origin, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

/** With SCREENSHOTS set, for the docs: a run that only tests leaves them as they are. */
async function shoot(page: Page, name: string): Promise<void> {
  if (process.env['SCREENSHOTS'] === undefined) return;
  await page.screenshot({ path: `${SCREENSHOTS}${name}.png` });
}

const row = (page: Page, vmid: number) => page.locator(`#guest-rows tr[data-vmid="${vmid}"]`);

describe('the page', () => {
  test('shows every guest with desired, actual, drift and phase, and the plan as a diff', async () => {
    await using opened = await openPage();
    const { page, complaints } = opened;
    await expect.poll(() => page.locator('#guest-rows tr').count()).toBe(4);
    const text = await row(page, 101).innerText();
    for (const part of ['web-1', 'running (observe)', 'differs', 'steady']) {
      expect(text).toContain(part);
    }
    expect(await page.locator('#summary').innerText()).toContain('Not in sync');
    const plan = page.locator('#plan-list [data-vmid="101"]');
    expect(await plan.locator('.removed').allInnerTexts()).toContain('- cores: 2');
    expect(await plan.locator('.added').allInnerTexts()).toContain('+ cores: 4');
    expect(complaints).toEqual([]);
    await shoot(page, 'page-light');
  });

  test('fits a phone, whatever is wrong and however long its words are', async () => {
    const upid = `UPID:pve1:${'0'.repeat(60)}:qmshutdown:101:agent@pve!agent:`;
    const message = `GET /api2/json/nodes/pve1/tasks/${encodeURIComponent(upid)}/status: no answer`;
    await using opened = await openPage({
      guests: GUESTS,
      desired: DESIRED,
      parts: [{ name: 'pve', ok: false, message }],
    });
    const { page } = opened;
    await page.setViewportSize({ width: 390, height: 844 });
    await expect.poll(() => page.locator('#health .bad').innerText()).toContain('no answer');
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(390);
  });

  test('says of a hold that it is one, before the next pass', async () => {
    await using opened = await openPage();
    const { page, world } = opened;
    await world.client.call(API.holdGuest, { params: { ref: 'db' }, body: { actor: 'anna' } });
    await world.clock.advanceTo(world.clock.elapsedMs + 100);
    await expect.poll(() => row(page, 200).innerText()).toContain('on hold: held by anna');
  });

  test('follows an op step by step, with the reason it waits', async () => {
    await using opened = await openPage(undefined, 'dark');
    const { page, world, complaints } = opened;
    await world.client.call(API.startGuest, { params: { ref: '103' }, body: { hold: '1h' } });
    await world.client.call(API.stopGuest, { params: { ref: 'db' }, body: { actor: 'anna' } });
    await world.clock.advanceTo(world.clock.elapsedMs + 1_000);
    const waiting = page.locator('#flight-list .card.waits');
    await expect.poll(() => waiting.innerText()).toContain('lock');
    const stopping = page.locator('#flight-list .card', { hasText: 'db' });
    await expect.poll(() => stopping.locator('.steps li').count()).toBe(3);
    expect(await stopping.innerText()).toContain('UPID:');
    await expect.poll(() => row(page, 200).innerText()).toContain('stopping');
    await shoot(page, 'page-dark-in-flight');

    await world.clock.advanceTo(world.clock.elapsedMs + 10_000);
    await expect.poll(() => stopping.count()).toBe(0);
    const story = page.locator('#op-list details', { hasText: 'db' }).first();
    await story.locator('summary').click();
    await expect.poll(() => story.locator('.steps li').count()).toBe(4);
    expect(await story.innerText()).toContain('asked for by anna');
    expect(complaints).toEqual([]);
  });

  test('shows older ops without a hole, and beyond a page’s worth where they are', async () => {
    await using opened = await openPage();
    const { page, world, complaints } = opened;
    const stories = Array.from({ length: 620 }, (_, index) => opStory(index + 1, { task: false }));
    await Promise.all(stories.flat().map((record) => world.journal.ledger.append(record)));
    await page.reload();
    const shown = (): Promise<number[]> =>
      page
        .locator('#op-list details')
        .evaluateAll((all) => all.map(({ dataset }) => Number(dataset['op'])));
    const newest = (from: number): number[] =>
      Array.from({ length: 500 }, (_, index) => from - index);
    const more = page.locator('#ops-more');
    for (let count = 50; count < 500; count += 50) {
      await expect.poll(shown).toHaveLength(count);
      await more.click();
    }
    await expect.poll(shown).toEqual(newest(620));
    expect(await more.isVisible()).toBe(false);
    expect(await page.locator('#ops-older').innerText()).toContain('ops list --since');

    await page.evaluate(`import('/page/ops.js').then(({ takeRecord }) => {
      for (let op = 621; op <= 721; op += 1) {
        const op_id = String(op).padStart(16, '0');
        const at = new Date().toISOString();
        takeRecord({ op_id, at, seq: 1e6 + op, vmid: 101, kind: 'start', state: 'succeeded' });
      }
    })`);
    await expect.poll(shown).toEqual(newest(721));
    expect(complaints).toEqual([]);
  });

  test('says so when the connection is lost, and catches up when it is back', async () => {
    await using opened = await openPage();
    const { page, world, origin } = opened;
    await page.context().setOffline(true);
    await world.server.close();
    await expect.poll(() => page.locator('#offline').isVisible()).toBe(true);
    expect(await page.locator('#offline').innerText()).toContain('is lost');
    await shoot(page, 'page-offline');

    world.node.guests.delete(world.node.guest(200).vmid);
    await world.pass();
    await world.restartServer({ host: '127.0.0.1', port: Number(new URL(origin).port) });
    await page.context().setOffline(false);
    await world.pass();
    await expect.poll(() => page.locator('#offline').isVisible(), { timeout: 15_000 }).toBe(false);
    await expect.poll(() => row(page, 200).count()).toBe(0);
    expect(await row(page, 101).count()).toBe(1);
  });

  test('says what it cannot see while the node does not answer, and as of when the rest is', async () => {
    await using opened = await openPage();
    const { page, world, complaints } = opened;
    await expect.poll(() => page.locator('#looked').innerText()).toMatch(/^as of \d\d:\d\d:\d\d$/);
    // Time passes before the look, or it is the one there is; and after it, until it is told.
    const passLater = async (): Promise<void> => {
      await world.clock.advanceTo(world.clock.elapsedMs + 1_000);
      await world.pass();
      await world.clock.advanceTo(world.clock.elapsedMs + 1_000);
    };
    world.api.wire.state = 'down';
    await passLater();
    await expect.poll(() => row(page, 101).innerText()).toMatch(/\?.*unknown.*ECONNREFUSED/s);
    expect(await row(page, 101).innerText()).not.toContain('absent');
    expect(await page.locator('#summary').innerText()).toBe('Not in sync: 3 unknown');
    world.api.wire.state = 'up';
    await passLater();
    await expect.poll(() => row(page, 101).innerText()).toContain('differs');
    expect(complaints).toEqual([]);
  });

  test('is used by keyboard alone', async () => {
    await using opened = await openPage();
    const { page } = opened;
    await page.keyboard.press('/');
    await page.keyboard.type('web');
    await expect.poll(() => page.locator('#guest-rows tr').count()).toBe(1);
    await page.keyboard.press('Escape');
    await expect.poll(() => page.locator('#guest-rows tr').count()).toBe(4);
    await page.keyboard.press('j');
    await page.keyboard.press('j');
    await page.keyboard.press('Enter');
    await expect.poll(() => page.locator('#detail').isVisible()).toBe(true);
    expect(await page.locator('#detail-title').innerText()).toContain('102 mail');
    await shoot(page, 'page-guest');
    await page.keyboard.press('Escape');
    await expect.poll(() => page.locator('#detail').isVisible()).toBe(false);
  });

  test('shows names as text, whatever they are', async () => {
    const name = '<img src=x onerror="document.title=1">\u202e';
    await using opened = await openPage({
      guests: { 101: { running: true, config: { name } } },
      desired: { 101: { power: 'running' } },
    });
    const { page, complaints } = opened;
    expect(await row(page, 101).innerText()).toContain(
      '<img src=x onerror="document.title=1">\\u202e',
    );
    expect(await page.locator('#guest-rows img').count()).toBe(0);
    expect(complaints).toEqual([]);
  });

  test('loads nothing from anywhere else, and runs nothing inline', async () => {
    await using opened = await openPage();
    const { page, origin } = opened;
    const urls = await page.evaluate<string[]>(
      "performance.getEntriesByType('resource').map(({ name }) => name)",
    );
    expect(urls.filter((url) => !url.startsWith(origin))).toEqual([]);
    const ran = await page.evaluate<boolean>(`
      const script = document.createElement('script');
      script.textContent = 'window.ranInline = true';
      document.head.append(script);
      'ranInline' in window;
    `);
    expect(ran).toBe(false);
  });

  test('stays smooth with 1,000 guests and 50 events a second', async () => {
    const guests = Object.fromEntries(
      Array.from({ length: 1_000 }, (_, i) => [
        1_000 + i,
        { running: i % 2 === 0, config: { name: `guest-${i}` } },
      ]),
    );
    await using opened = await openPage({ guests });
    const { page, world, complaints } = opened;
    await expect.poll(() => page.locator('#guest-rows tr').count()).toBe(1_000);
    const frames = page.evaluate<number[]>(MEASURE_FRAMES);
    // Three starts in each turn are some twelve records and as many guests: 100 events a second.
    for (let i = 0; i < 25; i++) {
      for (let j = 0; j < 3; j++) {
        const ref = `${1_001 + (((i * 3 + j) * 2) % 998)}`;
        await world.client.call(API.startGuest, { params: { ref } });
      }
      await world.clock.advanceTo(world.clock.elapsedMs + 400);
      await new Promise((resolve) => setTimeout(resolve, 150));
    }
    const gaps = await frames;
    const p95 = gaps[Math.floor(gaps.length * 0.95)] ?? Number.NaN;
    console.log(
      `frames ${gaps.length} in 5 s, 95 % within ${p95.toFixed(0)} ms, worst ${gaps.at(-1)?.toFixed(0)} ms`,
    );
    expect(p95).toBeLessThan(100);
    expect(complaints).toEqual([]);
  });
});
