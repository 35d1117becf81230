/** Desired state that a test changes: documents of the real schema, merged as the agent does. */
import { mergeDesired } from '../../src/agent/desired/composite.ts';
import {
  type DesiredState,
  documentSchema,
  NO_DESIRED_STATE,
  readDocument,
} from '../../src/reconcile/desired.ts';
import type { DesiredProvider } from '../../src/reconcile/ports.ts';

/** One document's `guests`, by vmid. */
export type DesiredGuests = Readonly<Record<string, object>>;

export class DesiredSource implements DesiredProvider {
  readonly #documents = new Map<string, DesiredGuests>();
  #state: DesiredState = NO_DESIRED_STATE;

  put(source: string, guests: DesiredGuests): void {
    this.#documents.set(source, guests);
    this.#state = mergeDesired(
      [...this.#documents].map(([name, each]) => {
        const document = documentSchema.parse({ version: 1, guests: each });
        const wanted = readDocument(document, name);
        return { ...NO_DESIRED_STATE, guests: new Map(wanted.map((one) => [one.vmid, one])) };
      }),
    );
  }

  /** Changes one guest of the document that already has it, or of the first. */
  change(vmid: string, fields: object): void {
    const holder = [...this.#documents].find(([, guests]) => vmid in guests);
    const [source, guests] = holder ?? ['desired.yaml', {}];
    this.put(source, { ...guests, [vmid]: { ...guests[vmid], ...fields } });
  }

  async read(): Promise<DesiredState> {
    return this.#state;
  }

  onChange(): () => void {
    return () => undefined;
  }

  async close(): Promise<void> {}
}
