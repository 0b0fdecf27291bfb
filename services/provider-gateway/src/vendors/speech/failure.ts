/** How vendors' failures become outcomes. Details never repeat what a vendor wrote: it may repeat the text or the key. */
import type { OutcomeKind } from "@rspp/ports/provider";
import { outcomeOfStatus } from "../http-outcome.ts";
import { speechLimits } from "./limits.ts";

/** Ends an invocation with its outcome. */
export class SpeechFailure extends Error {
  override readonly name = "SpeechFailure";
  readonly kind: OutcomeKind;

  constructor(kind: OutcomeKind, detail: string) {
    super(detail);
    this.kind = kind;
  }
}

export const malformed = (what: string): SpeechFailure => new SpeechFailure("error", `malformed ${what}`);

/** `code`: the vendor's own word for it, only compared. */
export function failureOfStatus(status: number, code = ""): SpeechFailure {
  return new SpeechFailure(...outcomeOfStatus(status, code));
}

/** What was thrown by fetch, a socket or a stream: a failed connection, unless it says otherwise itself. */
export function failureOfThrown(error: unknown): SpeechFailure {
  if (error instanceof SpeechFailure) return error;
  if (error instanceof SyntaxError) return malformed("answer: it is no JSON");
  const { code, cause } = (error ?? {}) as { code?: unknown; cause?: { code?: unknown } };
  const own = [code, cause?.code].find((one) => typeof one === "string" && /^[A-Z][A-Z_]{2,40}$/.test(one));
  return new SpeechFailure("disconnect", `the connection failed${own === undefined ? "" : ` (${String(own)})`}`);
}

/** The body of an error, at most 64 KiB of it; "" where it is longer. */
export async function errorBody(body: AsyncIterable<Uint8Array> | null): Promise<string> {
  let text = "";
  const decoder = new TextDecoder();
  for await (const bytes of body ?? []) {
    text += decoder.decode(bytes, { stream: true });
    if (text.length > speechLimits.ERROR_BYTES_MAX) return "";
  }
  return text;
}
