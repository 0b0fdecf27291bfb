/** What a release has fixed: the profile, what it ships to speak with, and that streaming is compared fairly. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { PROFILE_NAMES, resolveProfile } from "@rspp/kernel/profile";
import { createProviders } from "@rspp/provider-gateway/providers";
import { createVirtualClock } from "@rspp/runtime/clock/virtual-clock";
import { type OverlapRun, parity, runOverlap } from "../latency/overlap.ts";
import type { GateOutcome } from "./artefact.ts";
import { check, type GateContext, judged } from "./context.ts";

export const DECISIONS = {
  profiles: ["simple/v1"],
  transports: ["livekit", "loopback", "telephony", "websocket"],
  /** Without any vendor's key. */
  providers: [
    ...["local/flite", "local/phrasebook", "local/pocketsphinx", "local/responder"],
    ...["sim/batch", "sim/llm", "sim/stt", "sim/tts", "tool/http", "tool/mcp"],
  ],
} as const;

type Decided = Readonly<Record<keyof typeof DECISIONS, readonly string[]>>;

/** What this build has of each. */
export function decidedHere(root: string): Decided {
  const services = readdirSync(join(root, "services")).filter((name) => name.startsWith("transport-"));
  return {
    profiles: PROFILE_NAMES.filter((name) => resolveProfile(name).ok),
    transports: services.map((name) => name.slice("transport-".length)).sort(),
    providers: createProviders({ clock: createVirtualClock() })
      .map(({ name }) => name)
      .sort(),
  };
}

export async function fixedDecisions({ root }: GateContext): Promise<GateOutcome> {
  const latencies = { sttFinalMs: 200, llmFirstMs: 400, tokensPerS: 50, ttsFirstMs: 150, ttsFrameMs: 2 };
  const exchange = { question: "when do you open", reply: "We open at nine. On weekdays we close at six." };
  const streaming = await runOverlap(latencies, exchange, true);
  return judgeDecisions(decidedHere(root), streaming, await runOverlap(latencies, exchange, false));
}

export function judgeDecisions(here: Decided, streaming: OverlapRun, whole: OverlapRun): GateOutcome {
  const reasons = Object.entries(DECISIONS).flatMap(([what, decided]) => {
    const found = here[what as keyof Decided];
    const apart = [
      ...decided.filter((one) => !found.includes(one)),
      ...found.filter((one) => !decided.includes(one as never)),
    ];
    return apart.length === 0 ? [] : [`${what}: ${apart.join(", ")} differs from what was decided`];
  });
  const equal = parity(streaming, whole);
  const checks = [
    check("decisions_departed_from", "=", 0, reasons.length),
    check("streaming_parity", "=", 1, equal ? 1 : 0),
    check("streaming_gain_ms", ">=", 0, whole.firstAudioMs - streaming.firstAudioMs),
  ];
  if (!equal) reasons.push("streaming and non-streaming did not say the same: the figures compare nothing");
  return judged(checks, reasons, []);
}
