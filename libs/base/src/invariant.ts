const foundCharsMax = 200;

/** A broken invariant: a bug in this program, never an operating error. `expected` is the rule, `found` what stood there. */
export class InvariantError extends Error {
  override readonly name = "InvariantError";
  readonly expected: string;
  readonly found: unknown;

  constructor(expected: string, found?: unknown) {
    super(found === undefined ? expected : `${expected}; found ${describeFound(found)}`);
    this.expected = expected;
    this.found = found;
  }
}

/**
 * Throws {@link InvariantError} unless `cond` holds. `message` states what must be true, so that the text stays static
 * and cheap; whatever varies goes into `found`.
 */
export function invariant(cond: unknown, message: string, found?: unknown): asserts cond {
  if (!cond) throw new InvariantError(message, found);
}

/** The exhaustive end of a switch: does not compile while a case is missing, throws if data lied about its type. */
export function unreachable(x: never): never {
  throw new InvariantError("every case is handled", x);
}

/** Never throws, whatever it is given: the report of a bug must not become a second one. */
function describeFound(found: unknown): string {
  let text: string;
  try {
    if (typeof found === "bigint") text = `${found}n`;
    else if (typeof found === "number" || typeof found === "function" || typeof found === "symbol")
      text = String(found);
    else text = JSON.stringify(found) ?? String(found);
  } catch {
    text = Object.prototype.toString.call(found);
  }
  return text.length <= foundCharsMax ? text : `${text.slice(0, foundCharsMax)}…`;
}
