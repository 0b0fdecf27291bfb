/** Signals that the caller's application says in a data message on topic `rspp.signal` (F-042, F-089). */
import type { SessionLine } from "@rspp/transport/session-line";
import { limits } from "./limits.ts";

/** Name and class of what may be said; the rest is passed over and counted. */
const classes: ReadonlyMap<string, "overtaking" | "positioned"> = new Map([
  ["end_of_utterance", "positioned"],
  ["stop", "overtaking"],
  ["cancel", "overtaking"],
  ["dtmf", "positioned"],
] as const);

const digits = /^[0-9A-D*#]$/;

/** `{"signal": "end_of_utterance"}`, `{"signal": "dtmf", "digit": "5"}`. False where it is none. */
export function takeSignal(line: SessionLine, text: string): boolean {
  const said = parse(text);
  const name = typeof said?.signal === "string" ? said.signal : "";
  const kind = classes.get(name);
  if (kind === undefined) return false;
  if (name === "dtmf") return takeDigit(line, String(said?.digit ?? ""));
  // All audio before it is here but what the last frame still holds.
  if (name === "end_of_utterance") line.caller.finishFrame();
  line.caller.control(name, kind, name === "end_of_utterance" ? "" : "user_cancel");
  return true;
}

/** A key of a telephone. False where it is none. */
export function takeDigit(line: SessionLine, digit: string): boolean {
  if (!digits.test(digit)) return false;
  line.caller.control("dtmf", "positioned", "", { "dtmf.digit": digit });
  return true;
}

function parse(text: string): Record<string, unknown> | null {
  if (text.length > limits.SIGNAL_CHARS_MAX) return null;
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}
