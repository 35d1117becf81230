/**
 * The API token. Its secret is in one place and leaves it only as the value of the Authorization
 * header: printing, logging or serialising the object gives `***`.
 */
import { inspect } from 'node:util';
import { ReconcilerError } from '../reconcile/errors.ts';

/** A user's name may have an `@` of its own (an address, from OIDC): the last one is the realm's. */
const TOKEN = /^([^\s:/]+@[A-Za-z][A-Za-z0-9._-]*)!([A-Za-z][A-Za-z0-9._-]*)=([^\s=]+)$/;
const HIDDEN = '***';

export class PveToken {
  /** `user@realm!tokenid`, as PVE writes it into the UPIDs of tasks we start. */
  readonly user: string;
  readonly #secret: string;

  private constructor(user: string, secret: string) {
    this.user = user;
    this.#secret = secret;
  }

  /** Reads `USER@REALM!TOKENID=SECRET`; what is wrong is said without repeating the text. */
  static parse(text: string): PveToken {
    const match = TOKEN.exec(text.trim());
    const [, user, id, secret] = match ?? [];
    if (user === undefined || id === undefined || secret === undefined) {
      throw new ReconcilerError(
        'config_invalid',
        'the API token is not USER@REALM!TOKENID=SECRET',
        {
          hint: 'Put the token into its file as one line, as `pveum user token add` printed it.',
        },
      );
    }
    return new PveToken(`${user}!${id}`, secret);
  }

  authorization(): string {
    return `PVEAPIToken=${this.user}=${this.#secret}`;
  }

  /** Takes the secret out of a text that somebody else wrote. */
  redact(text: string): string {
    return text.replaceAll(this.#secret, HIDDEN);
  }

  toString(): string {
    return HIDDEN;
  }

  toJSON(): string {
    return HIDDEN;
  }

  [inspect.custom](): string {
    return HIDDEN;
  }
}
