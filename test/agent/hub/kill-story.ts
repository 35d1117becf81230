/**
 * One small story of delivery and receipt between processes: an agent, a hub, a node, and a network
 * between the first two. Two ops and a refusal are handed to the hub; at one moment somebody is
 * killed or cut, and started again. In the end each op was done once and each receipt is there.
 */
import { generateKeyPairSync } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, watch } from 'node:fs';
import { join } from 'node:path';
import { assertNever } from '../../../src/reconcile/errors.ts';
import { readByContract } from '../../e2e/contract-journal.ts';
import type { Simulator } from '../../simulator/start.ts';
import { type Daemon, type Host, makeHost, startDaemon } from '../program.ts';
import { ExampleHub } from './example-hub.ts';
import { makeKey, signBody } from './signing.ts';
import { TcpProxy, type Verdict } from './tcp-proxy.ts';

/** Who is struck, and when: as a piece of data comes through the network, or at a record. */
export type Strike =
  | { readonly what: 'nothing' }
  | { readonly what: 'cut' | 'half cut' | 'hub dies' | 'agent dies'; readonly step: number }
  | { readonly what: 'agent dies'; readonly records: number };

export interface StoryEnd {
  /** Anything that is not as it should be. */
  readonly faults: readonly string[];
  readonly isStruck: boolean;
  readonly steps: number;
  readonly records: number;
}

const hubKey = makeKey('hub-1');

export class KillStory implements AsyncDisposable {
  readonly #node: Simulator;
  readonly #strike: Strike;
  readonly #host: Host;
  readonly #vmids: readonly [number, number];
  readonly #proxy: TcpProxy;
  readonly #hub: ExampleHub;
  readonly #config: string;
  #agent: Daemon | null = null;
  #isStruck = false;

  private constructor(
    node: Simulator,
    strike: Strike,
    number: number,
    parts: [Host, TcpProxy, ExampleHub],
  ) {
    this.#node = node;
    this.#strike = strike;
    this.#vmids = [1_000 + 2 * number, 1_001 + 2 * number];
    [this.#host, this.#proxy, this.#hub] = parts;
    this.#config = this.#configure();
  }

  /** `number`: another for each story of a node. */
  static async begin(node: Simulator, strike: Strike, number: number): Promise<KillStory> {
    const host = makeHost(node);
    let port = 0;
    const proxy = await TcpProxy.start(() => port);
    const hub = await ExampleHub.start(join(host.dir, 'hub'), `https://127.0.0.1:${proxy.port}`);
    port = hub.port;
    return new KillStory(node, strike, number, [host, proxy, hub]);
  }

  #configure(): string {
    const host = this.#host;
    const { privateKey, publicKey } = generateKeyPairSync('ed25519');
    mkdirSync(join(host.dir, 'state'), { mode: 0o700 });
    host.write('state/agent-key.pem', privateKey.export({ type: 'pkcs8', format: 'pem' }));
    this.#hub.admit('pve1', publicKey.export({ type: 'spki', format: 'pem' }).toString());
    host.write('hub-1.pub.pem', hubKey.publicKey.export({ type: 'spki', format: 'pem' }));
    host.write('ca.pem', this.#hub.ca);
    host.write('desired.yaml', { version: 1, guests: {} });
    const allow = { kinds: ['start', 'set_config'], vmids: '100-99999' };
    return host.configure({
      agent: 'pve1',
      signers: [{ keyid: 'hub-1', public_key_file: 'hub-1.pub.pem', allow }],
      hub: { url: this.#hub.url, ca_file: 'ca.pem' },
    });
  }

  async tell(): Promise<StoryEnd> {
    const [first, second] = this.#vmids;
    for (const vmid of this.#vmids) {
      await this.#node.control('POST', '/guests', { vmid, kind: 'qemu', config: { cores: '1' } });
    }
    await this.#send({ idemp_key: 'a', kind: 'start', vmid: first, params: {} });
    await this.#send({ idemp_key: 'refused', kind: 'start', vmid: 99, params: {} });
    const params = { set: { cores: 4 } };
    await this.#send({ idemp_key: 'b', kind: 'set_config', vmid: second, params });
    this.#proxy.verdict = (step) => this.#atStep(step);
    const watching = this.#watchRecords();
    this.#agent = startDaemon(this.#config);
    for (const key of ['a', 'b']) await this.#hub.received(({ idemp_key }) => idemp_key === key);
    await this.#hub.received(({ event_id }) => event_id === '2');
    watching.close();
    await this.#agent.end('SIGTERM');
    return {
      faults: await this.#faults(),
      isStruck: this.#isStruck,
      steps: this.#proxy.steps,
      records: this.#countRecords(),
    };
  }

  async #send(fields: object): Promise<void> {
    const nowMs = Date.now();
    const op = {
      agent: 'pve1',
      issued_at: new Date(nowMs).toISOString(),
      expires_at: new Date(nowMs + 3_600_000).toISOString(),
      ...fields,
    };
    await this.#hub.send(Buffer.from(JSON.stringify(signBody(JSON.stringify(op), [hubKey]))));
  }

  async #atStep(step: number): Promise<Verdict> {
    const strike = this.#strike;
    if (this.#isStruck || !('step' in strike) || strike.step !== step) return 'pass';
    this.#isStruck = true;
    switch (strike.what) {
      case 'cut':
        return 'lost';
      case 'half cut':
        return 'half';
      case 'agent dies':
        await this.#restartAgent();
        return 'lost';
      case 'hub dies':
        await this.#hub.kill();
        await this.#hub.begin();
        return 'lost';
      default:
        return assertNever(strike);
    }
  }

  #watchRecords(): { close(): void } {
    const strike = this.#strike;
    if (!('records' in strike)) return { close: () => undefined };
    const folder = join(this.#host.dir, 'state', 'journal');
    mkdirSync(folder, { mode: 0o700 });
    return watch(folder, () => {
      if (this.#isStruck || this.#countRecords() < strike.records) return;
      this.#isStruck = true;
      void this.#restartAgent();
    });
  }

  async #restartAgent(): Promise<void> {
    const dead = this.#agent;
    await dead?.end('SIGKILL');
    this.#agent = startDaemon(this.#config);
  }

  /** Those of the one segment there is in so short a story; a takeover begins another. */
  #countRecords(): number {
    const folder = join(this.#host.dir, 'state', 'journal');
    const segments = readdirSync(folder).filter((name) => name.endsWith('.jsonl'));
    return segments
      .map((name) => readFileSync(join(folder, name), 'utf8').split('\n').length - 1)
      .reduce((sum, count) => sum + count, 0);
  }

  async #faults(): Promise<string[]> {
    const [first, second] = this.#vmids;
    const faults: string[] = [];
    const sent = (await this.#node.requests()).filter(({ method }) => method !== 'GET');
    for (const path of [`/${first}/status/start`, `/${second}/config`]) {
      const times = sent.filter((request) => request.path.endsWith(path)).length;
      if (times !== 1) faults.push(`${path} was asked for ${times} times`);
    }
    const receipts = this.#hub.receipts();
    for (const key of ['a', 'b']) {
      const states = receipts
        .filter(({ idemp_key }) => idemp_key === key)
        .map(({ state }) => state);
      if (states.join() !== 'succeeded') faults.push(`receipts of ${key}: ${states.join()}`);
    }
    const { problems } = readByContract(join(this.#host.dir, 'state', 'journal'));
    return [...faults, ...problems];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#agent?.end('SIGKILL');
    await this.#proxy.stop();
    await this.#hub.kill();
    for (const vmid of this.#vmids) await this.#node.control('DELETE', `/guests/${vmid}`);
    this.#host.remove();
  }
}
