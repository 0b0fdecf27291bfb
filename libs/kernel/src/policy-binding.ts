/**
 * A policy over the graph's own candidates (F-056): a turn is bound by what stood when it opened, an invocation by what stood
 * when it was first opened, so that a change in mid-turn acts at the next (`kernel.md` §3). Caps go along with what is asked,
 * and the gateway enforces them (F-058).
 */
import { canonicalJson } from "@rspp/base/canonical-json";
import type { ProviderCandidate } from "./graph.ts";
import type { Usage } from "./input.ts";
import type { CapUse, PolicyCaps, PolicyResolution, PolicyTurn } from "./policy.ts";
import { findTurn, type InvocationState, type TurnState } from "./state.ts";
import { type StepContext, signal } from "./step-context.ts";
import { toolOf } from "./tool-state.ts";

/** Begins the detail of an outcome that met a cap: `cap_reached:tokens`. */
export const CAP_REACHED = "cap_reached:";

const NONE: readonly ProviderCandidate[] = [];

/** Of work that is about to be opened for a node in a turn, or with 0 outside turns. */
export function boundCandidates(cx: StepContext, node: number, turn: number): readonly ProviderCandidate[] | undefined {
  const policy = turn === 0 ? cx.s.policy : findTurn(cx.s, turn)?.policy;
  return policy?.bindings[cx.s.config.graph.nodes[node]?.id ?? ""];
}

/** The frozen list of an invocation: its policy's, or that of its node or tool. */
export function candidatesOf(cx: StepContext, inv: InvocationState): readonly ProviderCandidate[] {
  const node = cx.s.config.graph.nodes[inv.node];
  if (node === undefined) return NONE;
  if (inv.tool !== undefined) return toolOf(node, inv.tool)?.candidates ?? NONE;
  return inv.candidates ?? node.candidates;
}

/** A speculation is adopted only where it was asked as the turn would ask. */
export function sameCandidates(cx: StepContext, inv: InvocationState, turn: TurnState): boolean {
  const wanted = boundCandidates(cx, inv.node, turn.number);
  if (wanted === inv.candidates) return true;
  const own = cx.s.config.graph.nodes[inv.node]?.candidates ?? NONE;
  return canonicalJson(wanted ?? own) === canonicalJson(inv.candidates ?? own);
}

/** What a turn keeps of the policy that stands as it opens. */
export function turnPolicy(policy: PolicyResolution | undefined): PolicyTurn {
  if (policy === undefined) return {};
  return policy.caps === undefined ? { policy } : { policy, capUse: { tokens: 0, audioMs: 0, ttsCharacters: 0 } };
}

/** What is left of the caps for one invocation: at least one of each unit, so that none means no bound. */
export function capsLeft(cx: StepContext, inv: InvocationState): { caps?: PolicyCaps } {
  const turn = findTurn(cx.s, inv.turn);
  const caps = (turn === undefined ? cx.s.policy : turn.policy)?.caps;
  if (caps === undefined || inv.modality === "tool") return {};
  const left = (unit: keyof CapUse): number => Math.max(1, (caps[unit] ?? 0) - (turn?.capUse?.[unit] ?? 0));
  return {
    caps: {
      onExceeded: caps.onExceeded,
      ...(caps.tokens === undefined ? {} : { tokens: left("tokens") }),
      ...(caps.audioMs === undefined ? {} : { audioMs: left("audioMs") }),
      ...(caps.ttsCharacters === undefined ? {} : { ttsCharacters: left("ttsCharacters") }),
      ...(caps.costMicros === undefined ? {} : { costMicros: caps.costMicros }),
    },
  };
}

/** An invocation has ended: its usage is taken off the caps, and a cap it met is told. */
export function noteCaps(
  cx: StepContext,
  inv: InvocationState,
  provider: string,
  detail: string,
  usage: Usage | null,
): void {
  const use = findTurn(cx.s, inv.turn)?.capUse;
  if (use !== undefined && usage !== null) {
    const { inputTokens = 0, outputTokens = 0, audioUs = 0, characters = 0 } = usage;
    if (inv.modality === "llm") use.tokens += inputTokens + outputTokens;
    if (inv.modality === "stt") use.audioMs += Math.ceil(audioUs / 1_000);
    if (inv.modality === "tts") use.ttsCharacters += characters;
  }
  if (!detail.startsWith(CAP_REACHED)) return;
  const unit = detail.slice(CAP_REACHED.length);
  const fields = { budgetLeft: 0, provider, invocation: inv.name };
  signal(cx, "budget_exhausted", "budget", inv.turn, `cap_${unit}`, fields);
}
