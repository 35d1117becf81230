/**
 * Errors as PVE words them. The text goes into the reason phrase of the status line and, with a
 * newline, into the body's `message` (PVE-FACTS 2).
 */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly status: number;
  readonly errors: Readonly<Record<string, string>> | null;
  /** The body's `message` usually ends in a newline; the "not implemented" one does not. */
  readonly newline: boolean;

  constructor(
    status: number,
    message: string,
    options: {
      readonly errors?: Readonly<Record<string, string>>;
      readonly newline?: boolean;
    } = {},
  ) {
    super(message);
    this.status = status;
    this.errors = options.errors ?? null;
    this.newline = options.newline ?? true;
  }
}

export function parameterError(errors: Readonly<Record<string, string>>): ApiError {
  return new ApiError(400, 'Parameter verification failed.', { errors });
}

export function permissionError(path: string, privileges: string): ApiError {
  return new ApiError(403, `Permission check failed (${path}, ${privileges})`);
}

export function forbidden(why: string): ApiError {
  return new ApiError(403, `Permission check failed (${why})`);
}

export function internalError(message: string): ApiError {
  return new ApiError(500, message);
}

export function missingConfig(file: string): ApiError {
  return internalError(`Configuration file '${file}' does not exist`);
}
