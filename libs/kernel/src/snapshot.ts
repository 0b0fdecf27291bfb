/** Canonical state snapshots: a replay may start at one (`kernel.md` §11). */
import { canonicalJson } from "@rspp/base/canonical-json";
import type { SessionState } from "./state.ts";

export function snapshotState(state: SessionState): string {
  return canonicalJson(state);
}

/** @throws SyntaxError when the text is no JSON; the caller has verified its hash. */
export function restoreState(text: string): SessionState {
  return JSON.parse(text) as SessionState;
}
