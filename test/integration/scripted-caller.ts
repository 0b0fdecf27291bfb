/**
 * A caller by script: what is said or keyed in and when, against the shipped runtime, gateway and line in virtual time. Ears
 * and voice are simulated, every other node of a pipeline is its own, local models too. What comes of it is the account of the
 * call as its reader sees it.
 */
import type { MonoNs } from "@rspp/base/brand";
import type { ProviderCandidate } from "@rspp/kernel/graph";
import { replayJournal } from "@rspp/kernel/replay";
import type { CompiledPipeline } from "@rspp/spec/compiled";
import { sessionTexts } from "@rspp/spec/session-texts";
import { fillVariables, takeVariables, type VariableValues } from "@rspp/spec/session-variables";
import { createLoopbackAdapter } from "@rspp/transport-loopback/adapter";
import { expect } from "vitest";
import { sessionConfigOf } from "../../cli/src/pipeline.ts";
import { replaySession } from "../../cli/src/replay-session.ts";
import { createRig, type Rig, speech } from "./rig.ts";

/** One thing the caller does; with neither words nor keys, nothing. */
export interface Act {
  say?: string;
  keys?: string;
  /** "after" what the agent says was heard (the default), or "during" it. */
  at?: "after" | "during";
  /** Turns that come of it; 1 by default. */
  opens?: number;
}

export interface Script {
  pipeline: CompiledPipeline;
  sessionId: string;
  variables?: VariableValues;
  /** In the place of a node's own candidates, by node id. */
  served?: Readonly<Record<string, ProviderCandidate>>;
  acts: readonly Act[];
}

export interface Account {
  /** `caller: words` and `agent: words`, in order, as shown; what was not heard to its end bears `[cut]`. */
  lines: readonly string[];
  /** Why the call ended; `caller` where the script was over first. */
  ended: string;
  /** Every control signal, as text. */
  signals: string;
  /** Routing choices and audits in order: `turn condition edge taken`, or `turn policy rule`. */
  routes: readonly string[];
}

const TERMINAL = ["completed", "cancelled", "lost"];

/** Plays the script to its end, and replays what was recorded of it: from the facts, and with every fact asked for again. */
export async function playScript({ pipeline, sessionId, variables = {}, served = {}, acts }: Script): Promise<Account> {
  const rig = createRig();
  const taken = takeVariables(pipeline, variables, "strict");
  if (!taken.ok) throw new Error(taken.error);
  const transcripts = acts.flatMap(({ say }) => (say === undefined ? [] : [say]));
  const { call, ended } = dial(
    rig,
    simulated(fillVariables(pipeline, taken.value), served, transcripts),
    sessionId,
    taken.value.values,
  );
  const opened = (): number => call.signals.filter((signal) => signal.startsWith("turn_open/")).length;
  const idle = (): boolean => call.signals.every((signal) => !signal.startsWith("turn_open/") || call.over(signal));
  let due = pipeline.greeting === undefined ? 0 : 1;
  for (const { say, keys, at = "after", opens = 1 } of acts) {
    await rig.until(() => ended.reason !== "" || (opened() >= due && (at === "during" ? call.speaking() : idle())));
    await rig.pass(at === "during" ? 500 : 100);
    const spokenMs = say === undefined ? 0 : Math.max(400, say.length * 60);
    if (keys !== undefined) call.line.dtmf(keys);
    if (say !== undefined) call.line.speak(speech(spokenMs));
    // What opens no turn is over by itself.
    if (opens === 0) await rig.pass(spokenMs + 1_500);
    due += opens;
  }
  await rig.until(() => ended.reason !== "" || (opened() >= due && idle()));
  await rig.pass(1_000);
  const own = ended.reason;
  if (own === "") call.line.end();
  await rig.until(() => ended.reason !== "");
  expect(call.line.stats().samplesAfterFence).toBe(0);
  expect(ended.stats).toMatchObject({ openInvocations: 0, openTimers: 0, evidenceFailures: 0 });
  expect(replayJournal(call.session.config, call.session.journal())).toMatchObject({ identical: true });
  expect(replaySession(rig.store, sessionId)).toMatchObject({ identical: true, level: "effects", problems: [] });
  return { lines: call.lines(), ended: own === "" ? "caller" : own, ...recordedOf(rig, sessionId) };
}

/** Its ears and its voice simulated, the rest as the pipeline has it. */
function simulated(pipeline: CompiledPipeline, served: Script["served"] = {}, transcripts: string[]): CompiledPipeline {
  const candidates = (id: string, kind: string, own: readonly ProviderCandidate[]): readonly ProviderCandidate[] => {
    const given = served[id];
    if (given !== undefined) return [given];
    if (kind === "stt") return [{ provider: "sim/stt", settings: { transcripts } }];
    return kind === "tts" ? [{ provider: "sim/tts", settings: {} }] : own;
  };
  const nodes = pipeline.graph.nodes.map((node) => ({
    ...node,
    candidates: candidates(node.id, node.kind, node.candidates),
  }));
  return { ...pipeline, graph: { ...pipeline.graph, nodes } };
}

function dial(rig: Rig, pipeline: CompiledPipeline, sessionId: string, variables: VariableValues) {
  const { texts, greeting, ...told } = sessionTexts(pipeline);
  const authority = { epoch: 1, incarnation: "test-1", deadlineNs: 1e18 as MonoNs };
  const kept = { ...pipeline, recording: { ...pipeline.recording, ceiling: "L2" as const } };
  const config = sessionConfigOf(kept, { sessionId, authority, seed: sessionId, variables, ...told });
  const line = createLoopbackAdapter({ clock: rig.clock, epoch: 1 });
  const signals: string[] = [];
  const said: { turn: number; role: string; text: string }[] = [];
  const opened = rig.runtime.openSession({
    config,
    texts,
    keepJournal: true,
    transport: {
      send(message) {
        if (message.kind === "control") signals.push(`${message.signal}/${message.turn}`);
        if (message.kind === "text" && (message.role === "assistant" || message.final)) said.push(message);
        line.send(message);
      },
    },
  });
  if (!opened.ok) throw new Error(opened.error.detail);
  const session = opened.value;
  const ended = { reason: "", stats: {} as object };
  void session.ended.then(({ reason, stats }) => Object.assign(ended, { reason, stats }));
  line.connect(session);
  if (greeting !== undefined) session.say(greeting);
  const over = (opening: string): boolean => {
    const turn = Number(opening.slice(opening.indexOf("/") + 1));
    const delivery = line.deliveries().find((one) => one.turn === turn);
    return delivery === undefined ? signals.includes(`close/${turn}`) : TERMINAL.includes(delivery.phase);
  };
  const speaking = (): boolean => line.deliveries().some(({ phase }) => phase === "playing");
  const isCut = (turn: number): boolean =>
    line.deliveries().some((one) => one.turn === turn && one.phase === "cancelled");
  const lines = (): string[] => linesOf(said, isCut);
  return { call: { session, line, signals, over, speaking, lines }, ended };
}

function linesOf(
  said: readonly { turn: number; role: string; text: string }[],
  isCut: (turn: number) => boolean,
): string[] {
  const lines: { key: string; text: string }[] = [];
  for (const [i, { turn, role, text }] of said.entries()) {
    const key = role === "assistant" ? `agent/${turn}` : `caller/${i}`;
    const known = lines.find((line) => line.key === key);
    if (known === undefined) lines.push({ key, text });
    else known.text += text;
  }
  return lines.map(({ key, text }) => {
    const [who = "", turn = ""] = key.split("/");
    const cut = who === "agent" && isCut(Number(turn)) ? " [cut]" : "";
    return `${who}: ${text.replace(/\s+/g, " ").trim()}${cut}`;
  });
}

function recordedOf(rig: Rig, sessionId: string): Pick<Account, "signals" | "routes"> {
  const { runs } = rig.spool.readSession(sessionId);
  const signals = runs.flatMap((run) => run.signals) as {
    signal: string;
    turn: number;
    reason: string;
    fields: Readonly<Record<string, unknown>>;
  }[];
  const routes = signals
    .filter(({ signal }) => signal === "route_decision")
    .map(({ turn, reason, fields }) => {
      const choice = fields.edge === undefined ? fields.rule : `${fields.edge} ${fields.taken === 1}`;
      return `${turn} ${reason} ${choice}`;
    });
  return { signals: JSON.stringify(signals), routes };
}
