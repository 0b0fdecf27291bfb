/**
 * Facts the kernel puts on a signal and the contract has no field for (a plan hash, a proposal's number). They travel in
 * one reserved extension, canonical JSON of text and numbers, and can never stand in for a field of the contract.
 */
import { canonicalJson } from "@rspp/base/canonical-json";
import { ok, type Result } from "@rspp/base/result";
import { isOwnField } from "./control-fields.ts";
import { limits } from "./limits.ts";
import { echo, refuseField, type WireError } from "./wire-error.ts";
import type { WireExtension } from "./wire-event.ts";

/** Namespaces that begin so are the platform's own. */
export const RESERVED_NAMESPACE = "rspp.";
export const SIGNAL_FACTS_NAMESPACE = "rspp.signal";
const factName = /^[a-z][a-zA-Z0-9_]{0,63}$/;
const contentType = "application/json";
const remedy = "send facts of a signal as a flat JSON object of text and numbers, or leave the extension out";

export type SignalFacts = Readonly<Record<string, string | number>>;
const none: SignalFacts = Object.freeze({});

function refuse(message: string): { readonly ok: false; readonly error: WireError } {
  return refuseField(`extensions["${SIGNAL_FACTS_NAMESPACE}"]`, "extension.signal_facts", message, remedy);
}

/** Null when there are none. */
export function factsToExtension(facts: SignalFacts): Result<WireExtension | null, WireError> {
  const names = Object.keys(facts);
  if (names.length === 0) return ok(null);
  const problem = factsProblem(facts);
  if (problem !== null) return refuse(problem);
  return ok({ contentType, data: new TextEncoder().encode(canonicalJson(facts)) });
}

export function factsFromExtension(extension: WireExtension | undefined): Result<SignalFacts, WireError> {
  if (extension === undefined) return ok(none);
  let parsed: unknown;
  try {
    parsed = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(extension.data));
  } catch {
    return refuse("is no JSON");
  }
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) return refuse("is no JSON object");
  const problem = factsProblem(parsed as Record<string, unknown>);
  return problem === null ? ok(parsed as SignalFacts) : refuse(problem);
}

function factsProblem(facts: Readonly<Record<string, unknown>>): string | null {
  const entries = Object.entries(facts);
  if (entries.length > limits.WIRE_SIGNAL_FACTS_MAX) return `holds more than ${limits.WIRE_SIGNAL_FACTS_MAX} facts`;
  for (const [name, value] of entries) {
    if (!factName.test(name)) return `${echo(name)} is no name of a fact`;
    if (isOwnField(name)) return `${echo(name)} has a field of its own, which an extension cannot override`;
    const good = typeof value === "string" ? value.length <= 512 && value.isWellFormed() : Number.isFinite(value);
    if (!good) return `${echo(name)} is neither short text nor a number`;
  }
  return null;
}
