/** Lines gathered for one write and one sync. */

/**
 * A batch is closed at this size: with very many appenders the next batch is then made while this
 * one is written. It bounds what a crash may tear, too.
 */
const BATCH_BYTES = 160 * 1024;
const FIRST_BYTES = 4096;

export interface Line {
  readonly text: string;
  /** Of the text in UTF-8. */
  readonly bytes: number;
}

export class Batch {
  readonly kind = 'lines';
  readonly #done = Promise.withResolvers<void>();
  #buffer: Buffer;
  #size = 0;

  /** `spare`: the buffer of a batch that is done, to be used again. */
  constructor(spare: Buffer | null) {
    this.#buffer = spare ?? Buffer.allocUnsafeSlow(FIRST_BYTES);
    // Whoever waits sees the failure; a batch nobody waits for must not end the process.
    this.done.catch(() => undefined);
  }

  /** Resolves when all of it is durable. */
  get done(): Promise<void> {
    return this.#done.promise;
  }

  get bytes(): Buffer {
    return this.#buffer.subarray(0, this.#size);
  }

  /** One line has always room, however long. */
  hasRoomFor({ bytes }: Line): boolean {
    return this.#size === 0 || this.#size + bytes <= BATCH_BYTES;
  }

  add(line: Line): void {
    const size = this.#size + line.bytes;
    if (size > this.#buffer.length) this.#growTo(Math.max(size, 2 * this.#buffer.length));
    this.#buffer.write(line.text, this.#size);
    this.#size = size;
  }

  #growTo(size: number): void {
    const grown = Buffer.allocUnsafeSlow(size);
    this.#buffer.copy(grown, 0, 0, this.#size);
    this.#buffer = grown;
  }

  /** Returns its buffer, free again. */
  resolve(): Buffer {
    this.#done.resolve();
    return this.#buffer;
  }

  reject(error: Error): void {
    this.#done.reject(error);
  }
}
