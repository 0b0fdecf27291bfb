/** The last word of a command that failed: what, which field, what to do; with --json an object as well. */
import { CommandError, EXIT_INPUT, EXIT_OK, InputError } from "../errors.ts";

/** @returns the exit status. What nobody foresaw is thrown on: a defect shows its stack. */
export function tellFailure(error: unknown, json: boolean): number {
  if (error instanceof CommandError) {
    const { status, reason, what, fields = [], remedy, metadata = {} } = error.facts;
    if (json) tellObject({ ok: false, status, reason, message: what, fields, remedy, metadata });
    process.stderr.write(`${error.message}\n`);
    return status;
  }
  if (error instanceof InputError || isWavSource(error)) {
    if (json) tellObject({ ok: false, status: EXIT_INPUT, reason: "bad_input", message: error.message });
    process.stderr.write(`${error.message}\n`);
    return EXIT_INPUT;
  }
  // Commander has told it.
  if (error instanceof Error && "exitCode" in error && typeof error.exitCode === "number") {
    if (error.exitCode === 0) return EXIT_OK;
    if (json) tellObject({ ok: false, status: EXIT_INPUT, reason: "usage", message: error.message });
    return EXIT_INPUT;
  }
  throw error;
}

/** By its name: the room it comes from is large, and few commands need it. */
function isWavSource(error: unknown): error is Error {
  return error instanceof Error && error.name === "WavSourceError";
}

function tellObject(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}
