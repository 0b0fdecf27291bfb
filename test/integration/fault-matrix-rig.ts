/**
 * One conversation through kernel, runtime and gateway as shipped, in virtual time, whose first turn meets a fault of one
 * provider and whose second must be served by that provider again (F3).
 */
import type { MonoNs } from "@rspp/base/brand";
import type { SealedEvidence } from "@rspp/kernel/evidence";
import type { SessionConfig } from "@rspp/kernel/session-config";
import type { Modality } from "@rspp/ports/provider";
import { createSimLlm } from "@rspp/provider-gateway/sim/llm";
import { createSimStt } from "@rspp/provider-gateway/sim/stt";
import { createSimTts } from "@rspp/provider-gateway/sim/tts";
import { compileSpec } from "@rspp/spec/compile-spec";
import { expandTemplate } from "@rspp/spec/parse-spec";
import { sessionConfigOf } from "../../cli/src/pipeline.ts";
import { simStage } from "../conformance/providers/sim-stage.ts";
import type { Stage } from "../conformance/providers/suite.ts";
import type { Fault } from "../fakes/fake.ts";
import { createRig, openCall, type Rig, recordsOf, type SimCall, speech } from "./rig.ts";

export const responses = ["none", "retry", "switch", "fallback"] as const;
export type Response = (typeof responses)[number];
export type Kind = Exclude<Modality, "tool">;

export interface Row {
  readonly kind: Kind;
  readonly fault: Fault;
  readonly response: Response;
  /** What the caller heard of the first turn; `no turn`: the words were never known. */
  readonly heard: "all" | "part" | "nothing" | "no turn";
  /** The first turn's invocations of that kind, as evidence has them: `provider outcome`. */
  readonly evidence: readonly string[];
  /** Control signals about providers, budgets and the terminal, in order. */
  readonly signals: readonly string[];
  /** Who served that kind in the second turn, and what the caller heard of it. */
  readonly after: string;
  readonly problems: readonly string[];
}

const creators = { stt: createSimStt, llm: createSimLlm, tts: createSimTts } as const;
const REPLY = "We open at nine in the morning, and we close at six.";

/** Stages by name: the first of a kind that fails, and a second that never does. */
export function stagesOf(clock: Rig["clock"]): Map<string, Stage> {
  const stages = new Map<string, Stage>();
  for (const [kind, create] of Object.entries(creators))
    for (const vendor of ["first", "second"]) {
      const stage = simStage(create({ clock }));
      const name = `${vendor}/${kind}`;
      stages.set(name, { ...stage, provider: { ...stage.provider, name } });
    }
  return stages;
}

const settingsOf = {
  stt: { transcripts: Array<string>(8).fill("when do you open") },
  llm: { text: REPLY, first_chunk_ms: 80, chunk_ms: 10, stall_ms: 600 },
  tts: { first_chunk_ms: 60, ms_per_char: 20, stall_ms: 600 },
} as const;

function configOf(kind: Kind, response: Response): SessionConfig {
  const candidates = (k: Kind): string[] =>
    k === kind && response === "switch" ? [`first/${k}`, `second/${k}`] : [`first/${k}`];
  const node = (k: Kind) => ({ candidates: candidates(k), settings: { ...settingsOf[k] } });
  const spec = expandTemplate({
    template: "voice-assistant",
    providers: { stt: node("stt"), llm: node("llm"), tts: node("tts") },
  });
  if (!spec.ok) throw new Error(spec.error.map((p) => p.message).join("; "));
  const { value } = spec;
  const nodes = value.nodes.map((one) => {
    if (one.kind !== kind || one.provider === undefined) return one;
    if (response === "retry") return { ...one, provider: { ...one.provider, retries: 2 } };
    return response === "fallback" && kind !== "stt" ? { ...one, fallback: "stand_in" } : one;
  });
  const standIn =
    kind === "llm"
      ? { id: "stand_in", kind: "canned", settings: { text: "One moment, please." } }
      : { id: "stand_in", kind: "tts", provider: { candidates: ["second/tts"], settings: { ...settingsOf.tts } } };
  const more = response === "fallback" && kind !== "stt" ? [standIn] : [];
  const compiled = compileSpec({ ...value, nodes: [...nodes, ...more] } as typeof value);
  if (!compiled.ok) throw new Error(compiled.error.map((p) => `${p.path} ${p.message}`).join("; "));
  const authority = { epoch: 1, incarnation: "test-1", deadlineNs: 1e18 as MonoNs };
  return sessionConfigOf(compiled.value, {
    sessionId: `${kind}-${response}`,
    authority,
    seed: `${kind}-${response}`,
    recording: "L1",
  });
}

export async function playRow(kind: Kind, fault: Fault, response: Response): Promise<Row> {
  const stages = new Map<string, Stage>();
  const rig = createRig({}, (clock) => {
    for (const [name, stage] of stagesOf(clock)) stages.set(name, stage);
    return [...stages.values()].map(({ provider }) => provider);
  });
  const call = openCall(rig, configOf(kind, response));
  await rig.pass(100);
  stages.get(`first/${kind}`)?.fault(fault, 1);
  const problems: string[] = [];
  await speak(rig, call);
  stages.get(`first/${kind}`)?.fault("none");
  const sealedBefore = sealed(rig, call);
  const first = [...sealedBefore.keys()][0] ?? 0;
  const signalsBefore = call.signals.length;
  await speak(rig, call);
  const all = sealed(rig, call);
  const second = [...all.keys()].filter((turn) => !sealedBefore.has(turn))[0] ?? 0;
  for (const [turn, manifest] of all) {
    const ends = call.signals.filter((s) => s === `commit/${turn}` || s === `abort/${turn}`).length;
    if (ends !== 1) problems.push(`turn ${turn} has ${ends} terminals`);
    if (manifest.missing.length > 0) problems.push(`turn ${turn} lacks evidence: ${manifest.missing.join(", ")}`);
  }
  call.line.end();
  await rig.until(() => rig.runtime.session(call.session.config) === null);
  const names = /^(provider_error|provider_switch|fallback|budget_exhausted|abort|commit|circuit_event)\//;
  return {
    kind,
    fault,
    response,
    heard: first === 0 ? "no turn" : heardOf(call, first),
    evidence: invocations(all.get(first), kind),
    signals: call.signals.slice(0, signalsBefore).flatMap((s) => (names.test(s) ? [s.split("/")[0] ?? ""] : [])),
    after: `${invocations(all.get(second), kind).join(", ")}; heard ${second === 0 ? "no turn" : heardOf(call, second)}`,
    problems,
  };
}

/** Says it and waits until all that follows from it is over. */
async function speak(rig: Rig, call: SimCall): Promise<void> {
  call.line.speak(speech(400));
  await rig.pass(8_000);
}

function sealed(rig: Rig, call: SimCall): Map<number, SealedEvidence> {
  return recordsOf<SealedEvidence>(rig, call.session.id, "evidence", "manifest");
}

function invocations(evidence: SealedEvidence | undefined, kind: Kind): string[] {
  const list = evidence?.manifest.invocations ?? [];
  return list.filter(({ modality }) => modality === kind).map(({ provider, outcome }) => `${provider} ${outcome}`);
}

function heardOf(call: SimCall, turn: number): "all" | "part" | "nothing" {
  const of = call.line.deliveries().filter((delivery) => delivery.turn === turn);
  if (of.some(({ phase }) => phase === "completed") && call.signals.includes(`commit/${turn}`)) return "all";
  return of.some(({ playedUs }) => playedUs > 0) ? "part" : "nothing";
}
