/** Exit statuses of `rspp`, as docs/cli.md tells them. */
export const EXIT_OK = 0;
/** It ran, and what was asked for did not come out. */
export const EXIT_FAILED = 1;
/** Wrong usage or bad input. */
export const EXIT_INPUT = 2;
/** The platform cannot be reached. */
export const EXIT_UNREACHABLE = 3;

/** Something the user can mend; printed without a stack. */
export class InputError extends Error {
  override readonly name: string = "InputError";
}

export interface FieldFault {
  readonly field: string;
  readonly message: string;
}

export interface FailureFacts {
  /** One of the EXIT_* above. */
  readonly status: number;
  /** Entry of the catalogue of errors, or a word of the command line's own, e.g. `unreachable`. */
  readonly reason: string;
  /** What happened, for people; one sentence. */
  readonly what: string;
  readonly fields?: readonly FieldFault[];
  /** What to do. */
  readonly remedy: string;
  /** Named facts of the service that refused. */
  readonly metadata?: Readonly<Record<string, string>>;
}

/** An answer that ends the command: reason, fields and remedy; never a stack. */
export class CommandError extends Error {
  override readonly name = "CommandError";
  readonly facts: FailureFacts;

  constructor(facts: FailureFacts) {
    const fields = (facts.fields ?? []).map(({ field, message }) => `   ${field}: ${message}`);
    super([facts.what, ...fields, `   help: ${facts.remedy}`].join("\n"));
    this.facts = facts;
  }
}

/** Wrong usage, told with what to do about it. */
export function usageError(what: string, remedy: string): CommandError {
  return new CommandError({ status: EXIT_INPUT, reason: "usage", what, remedy });
}
