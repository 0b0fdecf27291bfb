/** A seeded random workload over a `World`: legal and illegal inputs of every kind. For tests. */
import type { MonoNs } from "@rspp/base/brand";
import { evidenceBytesMax } from "../evidence.ts";
import type { GraphDefinition } from "../graph.ts";
import type { InputBody } from "../input.ts";
import { assistantGraph, PCM, POLICY, testConfig } from "./harness.ts";
import { randomOf, World, type WorldInvocation } from "./world.ts";

type Random = ReturnType<typeof randomOf>;

const WORDS = "the fox went out on a chilly night and prayed for the moon to give him light".split(" ");
const FAILURES = [
  "timeout",
  "overload",
  "unauthorized",
  "disconnect",
  "safety_block",
  "empty",
  "cancelled",
  "error",
] as const;

export function words(r: Random, max: number): string {
  const out: string[] = [];
  for (let i = 0; i <= r.int(max); i++) out.push(WORDS[r.int(WORDS.length)] ?? "fox");
  return out.join(" ") + (r.chance(0.4) ? ". " : " ");
}

/** `graphOf`: another graph than the assistant's. */
export function randomWorld(seed: number, graphOf?: (r: Random) => GraphDefinition): { world: World; r: Random } {
  const r = randomOf(seed);
  const assistant = assistantGraph({
    stt: r.chance(0.5) ? ["sim/stt"] : ["sim/stt", "sim/stt-b"],
    llm: r.chance(0.5) ? ["sim/llm"] : ["sim/llm", "sim/llm-b"],
    tts: r.chance(0.5) ? ["sim/tts"] : ["sim/tts", "sim/tts-b", "sim/tts-c"],
    endpointing: { speculate_ms: r.chance(0.5) ? 40 : 0 },
  });
  const config = testConfig(graphOf?.(r) ?? assistant, {
    seed: `seed-${seed}`,
    policy: {
      ...POLICY,
      secondProposal: (["preempt", "queue", "drop"] as const)[r.int(3)] ?? "queue",
      bargeIn: r.chance(0.8),
      holdOnCandidate: r.chance(0.6),
      speculation: r.chance(0.6),
      historyPartsMax: r.chance(0.2) ? 3 : 32,
      lateEvents: (["drop", "remap", "diagnose"] as const)[r.int(3)] ?? "drop",
    },
    snapshotEveryTurns: r.int(3),
    // Some leases run out unless they are renewed in time.
    authority: {
      epoch: 1,
      incarnation: "store-1",
      deadlineNs: ((r.chance(0.3) ? 1_000 + r.int(4_000) : 3_600_000) * 1e6) as MonoNs,
    },
    recording: {
      policyId: "recording@1",
      ceiling: (["L0", "L1", "L2"] as const)[r.int(3)] ?? "L0",
      evidenceQuotaBytes: 16 * evidenceBytesMax,
    },
  });
  return { world: new World(config), r };
}

function stt(w: World, r: Random, inv: WorldInvocation): InputBody[] {
  if (r.chance(0.15)) return [outcome(r, inv)];
  inv.revision += r.chance(0.1) ? 0 : 1;
  const final = inv.finished ? r.chance(0.7) : r.chance(0.1);
  const chunk = w.textChunk(inv.id, words(r, 5), { final, revision: Math.max(0, inv.revision) });
  return final && r.chance(0.8) ? [chunk, outcome(r, inv, 0.95)] : [chunk];
}

function llm(w: World, r: Random, inv: WorldInvocation): InputBody[] {
  if (!inv.asked) return [];
  if (hasTools(w) && r.chance(0.3)) {
    inv.chunks += 1;
    return [toolCallChunk(w, r, inv)];
  }
  if (inv.chunks > 2 + r.int(6) || r.chance(0.05)) return [outcome(r, inv)];
  inv.chunks += 1;
  return [w.textChunk(inv.id, words(r, 8), { final: false })];
}

const hasTools = (w: World): boolean => w.config.graph.nodes.some(({ tools }) => tools !== undefined);

function toolCallChunk(w: World, r: Random, inv: WorldInvocation): InputBody {
  const names = w.config.graph.nodes.flatMap(({ tools = [] }) => tools.map(({ name }) => name));
  const name = r.chance(0.1) ? "unknown" : (names[r.int(names.length)] ?? "unknown");
  const args = r.chance(0.1) ? "x".repeat(3_000) : `{"n":${r.int(9)}}`;
  const payload = { ref: w.ref(args), hash: "", bytes: args.length };
  const chunk = { type: "tool_call" as const, payload, chars: args.length, callId: `c${r.int(1_000_000)}`, name };
  return { type: "provider_chunk", invocation: inv.id, index: w.chunkIndex(inv.id), chunk };
}

function tool(w: World, r: Random, inv: WorldInvocation): InputBody[] {
  if (inv.clauses.length === 0 || r.chance(0.4)) return [];
  if (r.chance(0.2)) return [outcome(r, inv, 0)];
  const result = w.textChunk(inv.id, r.chance(0.1) ? "y".repeat(3_000) : '{"ok":true}');
  return r.chance(0.7) ? [result, outcome(r, inv, 0.95)] : [result];
}

function tts(w: World, r: Random, inv: WorldInvocation): InputBody[] {
  const clause = inv.clauses[0];
  if (clause === undefined) return inv.finished || r.chance(0.02) ? [outcome(r, inv)] : [];
  if (r.chance(0.03)) return [outcome(r, inv, 0)];
  const out: InputBody[] = [];
  const frames = 1 + r.int(8);
  for (let i = 0; i < frames; i++) {
    const segmentEnd = i === frames - 1 && r.chance(0.6);
    out.push(
      w.audioChunk(inv.id, clause.segment, clause.chars, {
        durationUs: 20_000 + r.int(3) * 20_000,
        segmentEnd,
        ...(i === 0 && r.chance(0.7) ? { words: clause.words } : {}),
      }),
    );
    if (segmentEnd) inv.clauses.shift();
  }
  return out;
}

function outcome(r: Random, inv: WorldInvocation, success = 0.85): InputBody {
  const kind = inv.cancelled
    ? "cancelled"
    : r.chance(success)
      ? "success"
      : (FAILURES[r.int(FAILURES.length)] ?? "error");
  return { type: "provider_outcome", invocation: inv.id, outcome: kind, detail: "", usage: null };
}

/** What some open invocation does next. An ended one is forgotten; a cancelled one may never answer. */
export function provider(w: World, r: Random): InputBody[] {
  const open = [...w.invocations.values()];
  const inv = open[r.int(Math.max(1, open.length))];
  if (inv === undefined) return [];
  const out = inv.cancelled
    ? r.chance(0.3)
      ? [outcome(r, inv)]
      : r.chance(0.2)
        ? [w.textChunk(inv.id, "late ")]
        : []
    : inv.modality === "stt"
      ? stt(w, r, inv)
      : inv.modality === "llm"
        ? llm(w, r, inv)
        : inv.modality === "tool"
          ? tool(w, r, inv)
          : tts(w, r, inv);
  if (out.some((body) => body.type === "provider_outcome")) w.invocations.delete(inv.id);
  return out;
}

function adapter(w: World, r: Random): InputBody[] {
  const numbers = [...w.turns.keys()];
  const number = numbers[r.int(Math.max(1, numbers.length))];
  if (number === undefined) return [];
  const turn = w.turnOf(number);
  const epoch = w.state.authority.epoch - (r.chance(0.05) ? 1 : 0);
  const playedUs = r.chance(0.9) ? r.int(turn.sentUs + 1) : turn.sentUs + r.int(1_000_000);
  if (turn.fenced && !turn.acked && r.chance(0.6)) {
    turn.acked = true;
    // One in five acknowledgements is lost.
    return r.chance(0.2) ? [] : [{ type: "fence_ack", epoch, turn: number, generation: 2, playedUs, flushed: 0 }];
  }
  const states = ["accepted", "started", "progress", "completed", "cancelled", "lost"] as const;
  let n = r.int(6);
  if (r.chance(0.75)) {
    // As a well-behaved adapter would.
    n = turn.reported < 2 ? turn.reported : turn.ended && r.chance(0.3) ? 3 : 2;
    turn.reported += 1;
  }
  const generation = 1 + (r.chance(0.05) ? r.int(3) : 0);
  return [{ type: "delivery", epoch, turn: number, generation, state: states[n] ?? "progress", playedUs }];
}

function control(w: World, r: Random): InputBody {
  const turn = r.chance(0.5) ? 0 : 1 + r.int(w.state.lastTurn + 1);
  const last = w.audioSequence + r.int(3) - 1;
  switch (r.int(12)) {
    case 0:
      return w.control("cancel", { turn, reason: r.chance(0.5) ? "user_cancel" : "" });
    case 1:
      return w.control("stop", { turn, fields: { scope: ["turn", "session", "node", "x"][r.int(4)] ?? "turn" } });
    case 2:
      return w.control("end_of_utterance", { controlClass: "positioned", lastMediaSequence: last });
    case 3:
      return w.control("mute", { controlClass: "positioned", lastMediaSequence: last });
    case 4:
    case 5:
      return w.control("unmute", { lastMediaSequence: Math.max(0, last) });
    case 6:
      return w.control(r.chance(0.9) ? "connected" : r.chance(0.5) ? "disconnected" : "reconnecting");
    case 7:
    case 8:
      return w.control("connected");
    case 9:
      return w.control("dtmf", { turn, fields: { "telephony.digit": "5" }, key: `dtmf-${r.int(4)}` });
    case 10:
      return w.control(["playback_started", "output_accepted", "turn_open", "nonsense", "barge_in"][r.int(5)] ?? "x", {
        turn,
        fields: { mediaUs: 5, scope: "bogus" },
      });
    default:
      return {
        ...(w.control("silence") as Extract<InputBody, { type: "control" }>),
        sequence: 1 + r.int(3),
        epoch: r.int(3),
      };
  }
}

function authority(w: World, r: Random): InputBody {
  const { epoch, deadlineNs } = w.state.authority;
  const later = (deadlineNs + 60e9) as MonoNs;
  const n = r.int(20);
  if (n < 8) return { type: "authority", kind: "renewed", epoch, deadlineNs: later };
  if (n < 17) return { type: "authority", kind: "rotated", epoch: epoch + 1, deadlineNs: later };
  if (n < 18) return { type: "authority", kind: "revoked", epoch: epoch - 1, deadlineNs: later };
  return {
    type: "authority",
    kind: n === 18 ? "revoked" : "granted_elsewhere",
    epoch: epoch + (n === 18 ? 0 : 1),
    deadlineNs: later,
  };
}

function shell(w: World, r: Random): InputBody {
  switch (r.int(10)) {
    case 0: {
      const usable = r.chance(0.8);
      return {
        type: "snapshot",
        refs: { ...w.config.snapshots, routing: `routing@${r.int(3)}` },
        usable,
        reason: usable ? "" : "stale",
      };
    }
    case 1:
      return {
        type: "capacity",
        admit: r.chance(0.8),
        outcome: r.chance(0.5) ? "defer" : "reject",
        reason: "load",
        evidenceQuotaBytes: -1,
      };
    case 2:
      return { type: "append_failed", turn: w.state.lastTurn, exhausted: r.chance(0.3) };
    case 3:
      return { type: "recording_pressure", fill: r.next(), lagMs: r.int(6_000) };
    case 4:
      return authority(w, r);
    case 5:
      return { type: "node_stopped", node: "vad", reason: "" };
    case 6:
      return { type: "timer", id: ["output:1", "settle:1", "nonsense", "grace:1", "first_output:2"][r.int(5)] ?? "" };
    case 7:
      return { type: "provider_outcome", invocation: 1 + r.int(40), outcome: "error", detail: "stray", usage: null };
    case 8:
      return {
        type: "operator",
        command: r.chance(0.85) ? "cancel_turn" : "cancel_session",
        turn: r.int(w.state.lastTurn + 2),
        reason: "",
      };
    default:
      return proposal(w, r);
  }
}

function proposal(w: World, r: Random): InputBody {
  const text = words(r, 10);
  const say = r.chance(0.6) ? { spans: w.sessionText(text), chars: text.length } : null;
  const origin = (["timer", "operator", "api"] as const)[r.int(3)] ?? "api";
  return { type: "proposal", origin, key: r.chance(0.3) ? `key-${r.int(3)}` : "", say, reason: "" };
}

/** Voice activity answers, some failures among them. */
function activity(w: World, r: Random, speech: boolean): InputBody[] {
  const out: InputBody[] = [];
  for (const { command, mediaUs, durationUs } of w.commands) {
    if (r.chance(0.01)) {
      out.push({ type: "node_failed", command, reason: r.chance(0.5) ? "" : "crashed" });
      continue;
    }
    const body = { type: "activity", speech, probability: speech ? 1 : 0, mediaUs, durationUs } as const;
    out.push({ type: "node_emitted", command, index: 0, port: "activity", body }, { type: "node_done", command });
  }
  w.commands = [];
  return out;
}

function frame(w: World, r: Random): InputBody {
  const body = w.frame() as Extract<InputBody, { type: "audio" }>;
  if (r.chance(0.02)) return { ...body, epoch: body.epoch - 1 };
  if (r.chance(0.02)) return { ...body, sequence: Math.max(1, body.sequence - 2) };
  if (r.chance(0.02)) return { ...body, mediaUs: 0 };
  return { ...body, format: PCM };
}

/** `moves` random moves; speech comes in bursts. */
export function play(w: World, r: Random, moves: number): void {
  w.feed(w.control("connected"));
  let speech = false;
  for (let i = 0; i < moves && w.state.lifecycle.phase !== "ended"; i++) {
    if (r.chance(0.12)) speech = !speech;
    const bodies: InputBody[] = [];
    const parts = r.chance(0.7) ? 1 : 2 + r.int(4);
    for (let p = 0; p < parts; p++) {
      const n = r.int(100);
      if (n < 34) bodies.push(frame(w, r), ...activity(w, r, speech));
      else if (n < 76) bodies.push(...provider(w, r));
      else if (n < 92) bodies.push(...adapter(w, r));
      else if (n < 95) bodies.push(control(w, r));
      else if (n < 99) bodies.push(shell(w, r));
      else if (r.chance(0.1))
        bodies.push({ type: "operator", command: r.chance(0.5) ? "drain" : "end", turn: 0, reason: "" });
    }
    if (bodies.length > 0) w.feed(...bodies);
    w.advance(r.chance(0.9) ? r.int(30) : r.int(600));
    for (const effect of w.commands.length > 50 ? [0] : []) w.commands.splice(effect, 40);
  }
}
