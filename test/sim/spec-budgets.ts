/** Budgets of every scope and outcome (F-045 to F-047): tight ones are told of or degrade, only wide ones end a turn. */
import type { BudgetsDocument, LimitDocument } from "@rspp/spec/spec";
import type { Rng } from "./rng.ts";
import type { Draft } from "./spec-draft.ts";

/** What is said and done costs; a price a unit, so that a budget of cost can be reached. */
const prices = [
  { provider: "sim/llm", output_token_micros: 30, input_token_micros: 2 },
  { provider: "sim/llm-b", output_token_micros: 10, input_token_micros: 1 },
  { provider: "sim/tts", character_micros: 4 },
  { provider: "sim/tts-b", character_micros: 2, audio_second_micros: 20 },
];

export function budgets(draft: Draft): BudgetsDocument | null {
  const limits = drawLimits(draft);
  if (limits.length === 0) return null;
  const priced = limits.some((limit) => limit.cost_micros !== undefined);
  return priced ? { limits, prices } : { limits };
}

function drawLimits(draft: Draft): LimitDocument[] {
  const rng = draft.rng.fork("budgets");
  const limits: LimitDocument[] = [];
  if (rng.chance(20)) limits.push({ scope: "turn", soft_ms: 6_000, hard_ms: 20_000, on_exhausted: "terminate" });
  if (rng.chance(15)) limits.push({ scope: "turn", characters: rng.int(20, 200), on_exhausted: gentle(rng) });
  if (rng.chance(12)) {
    const characters = Math.round(rng.int(160, 400) * wordiness(draft));
    limits.push({ scope: "turn", characters, on_exhausted: "terminate" });
  }
  if (rng.chance(12)) limits.push({ scope: "turn", cost_micros: rng.int(50, 2_000), on_exhausted: gentle(rng) });
  if (rng.chance(15)) limits.push({ scope: "edge", target: "e1", audio_ms: 60_000, on_exhausted: "continue" });
  ofTurn(draft, limits);
  ofModel(draft, rng, limits);
  ofVoice(draft, rng, limits);
  ofPath(draft, rng, limits);
  return limits;
}

/** How many times over a reply is counted: what ends a turn must let most of them be said. */
function wordiness({ nodes }: Draft): number {
  const branches = nodes.some(({ kind }) => kind === "merge") ? 2 : 1;
  return nodes.some(({ tools }) => tools !== undefined) ? branches * 1.5 : branches;
}

const gentle = (rng: Rng): "continue" | "degrade" => rng.pick(["continue", "degrade"] as const);

/** One that turns come up against: it is told, and they go on. */
function ofTurn(draft: Draft, limits: LimitDocument[]): void {
  const rng = draft.rng.fork("budgets/turn");
  if (rng.chance(15)) limits.push({ scope: "turn", hard_ms: rng.int(250, 2_500), on_exhausted: gentle(rng) });
}

function ofModel({ nodes, edges }: Draft, rng: Rng, limits: LimitDocument[]): void {
  const model = nodes.find(({ id }) => id === "llm");
  if (model === undefined) return;
  const able = model.fallback === undefined ? gentle(rng) : rng.pick(["fallback", "continue", "degrade"] as const);
  if (rng.chance(20)) limits.push({ scope: "node", target: "llm", hard_ms: rng.int(200, 900), on_exhausted: able });
  if (rng.chance(15))
    limits.push({ scope: "event", target: "llm", hard_ms: rng.int(40, 300), on_exhausted: gentle(rng) });
  const edge = edges.find(({ from }) => from === "llm.text");
  if (edge?.id !== undefined && rng.chance(15))
    limits.push({ scope: "edge", target: edge.id, characters: rng.int(10, 100), on_exhausted: gentle(rng) });
  if (rng.chance(15)) {
    const ms = rng.int(60, 600);
    const on_exhausted = rng.pick(["fallback", "continue", "degrade"] as const);
    // Where nothing is left to fall back on, a model that is well must come to its end in time.
    const hard_ms = on_exhausted === "fallback" && model.fallback === undefined ? ms + 400 : ms;
    limits.push({ scope: "provider_invocation", target: "llm", hard_ms, on_exhausted });
  }
}

function ofVoice({ voice }: Draft, rng: Rng, limits: LimitDocument[]): void {
  if (rng.chance(12))
    limits.push({ scope: "node", target: voice, audio_ms: rng.int(300, 4_000), on_exhausted: gentle(rng) });
  if (rng.chance(10))
    limits.push({
      scope: "provider_invocation",
      target: voice,
      hard_ms: rng.int(300, 3_000),
      on_exhausted: gentle(rng),
    });
}

function ofPath({ nodes, voice }: Draft, rng: Rng, limits: LimitDocument[]): void {
  const from = nodes.some(({ id }) => id === "context") ? "context" : voice;
  if (rng.chance(20))
    limits.push({ scope: "path", target: `${from}..speaker`, hard_ms: rng.int(80, 900), on_exhausted: gentle(rng) });
}
