import type { TimelineRecord } from "@rspp/gen/rspp/replay/v1/timeline_pb";
import type { SignalEvent } from "@rspp/kernel/effect";
import { levelNames } from "@rspp/wire/names";
import { turnIdOf } from "@rspp/wire/wire-event";
import { recordingOf } from "./recording.ts";
import { explainTurn } from "./waterfall-explain.ts";
import { factsOf, type SessionFacts, type TurnFacts } from "./waterfall-facts.ts";
import { spansOf } from "./waterfall-spans.ts";
import type { ControlMark, Said, TurnAnchors, TurnLatencies, Waterfall, WaterfallTurn } from "./waterfall-types.ts";

/** What happened in a session, from all its records in order of (epoch, sequence). Never throws for what they hold. */
export function buildWaterfall(records: readonly TimelineRecord[]): Waterfall {
  const { tenantId = "", sessionId = "" } = records[0]?.session ?? {};
  const { recording, problems } = recordingOf(records);
  const facts = factsOf(sessionId, recording, problems);
  const level = levelNames.name(records.reduce((highest, one) => Math.max(highest, one.level), 0)) || "L0";
  const instants = records.map(({ monotonicNs }) => Number(monotonicNs));
  const basis = facts.replay === null ? "evidence" : "journal";
  let interrupted = 0;
  const turns: WaterfallTurn[] = [];
  for (const found of facts.turns.values()) {
    const turn = turnOf(found, facts, level);
    turns.push({ ...turn, explanation: explainTurn(turn, turn.origin === "endpoint" ? interrupted : 0, level) });
    interrupted = found.signals.some(({ signal }) => signal === "barge_in") ? found.turn : 0;
  }
  const spans = turns.flatMap((turn) => turn.spans);
  const at = [...instants, ...spans.flatMap(({ startNs, endNs }) => [startNs, endNs ?? startNs])];
  return {
    tenantId,
    sessionId,
    pipeline: pipelineOf(records),
    level,
    epochs: [...new Set(records.map(({ epoch }) => Number(epoch)))],
    basis,
    startedWallMs: Number(records[0]?.wallMs ?? 0n),
    originNs: at.reduce((a, b) => Math.min(a, b), at[0] ?? 0),
    endNs: at.reduce((a, b) => Math.max(a, b), 0),
    turns,
    signals: facts.signals.map(markOf),
    ended: recording.ended,
    notes: notesOf(records, facts, problems, recording.ended),
  };
}

function turnOf(found: TurnFacts, facts: SessionFacts, level: string): Omit<WaterfallTurn, "explanation"> {
  const { turn, open, evidence, addendum, signals, proposal } = found;
  const manifest = evidence?.manifest ?? null;
  const anchors = anchorsOf(found);
  const commit = signals.find(({ signal }) => signal === "commit" || signal === "abort");
  const close = signals.find(({ signal }) => signal === "close");
  const delivered = deliveryOf(signals);
  return {
    turn,
    turnId: turnIdOf(turn),
    origin: String(open?.fields.origin ?? proposal?.fields.origin ?? ""),
    startNs: anchors.turn_open_emitted ?? signals[0]?.monoNs ?? 0,
    endNs: manifest?.closed?.monoNs ?? close?.monoNs ?? null,
    terminal: manifest?.terminal?.kind ?? commit?.signal ?? "",
    reason: manifest?.terminal?.reason ?? (commit?.signal === "abort" ? commit.reason : ""),
    delivery: addendum?.outcome ?? delivered,
    playedMs: addendum === null ? -1 : Math.round(addendum.playedUs / 1_000),
    planHash: found.planHash || (manifest?.planHash ?? ""),
    evidenceHash: evidence?.hash ?? "",
    evidenceComplete: evidence !== null && evidence.missing.length === 0,
    anchors,
    latencies: latenciesOf(anchors),
    spans: spansOf(found, anchors),
    signals: [...(proposal === null ? [] : [proposal]), ...signals].map(markOf),
    ...textsOf(found, facts, level),
    heardBy: addendum?.heardBy ?? "",
  };
}

function anchorsOf(found: TurnFacts): TurnAnchors {
  const { evidence, addendum, signals, proposal, open } = found;
  const manifest = evidence?.manifest ?? null;
  const played = signals.find(({ signal }) => signal === "playback_started");
  const cut = signals.find(({ signal }) => signal === "cancel" || signal === "barge_in");
  return {
    utterance_first_frame: found.firstFrameNs,
    audio_input_ingress: found.lastVoicedNs,
    turn_open_proposed_ingress_accepted: proposal?.monoNs ?? null,
    turn_open_emitted: found.openedNs ?? manifest?.opened?.monoNs ?? open?.monoNs ?? null,
    first_datalane_output_emitted: found.firstMediaNs,
    cancel_accepted: manifest?.cancel?.acceptedNs ?? addendum?.cancelAcceptedNs ?? cut?.monoNs ?? null,
    cancel_fence_applied: addendum?.cancelFenceAppliedNs ?? null,
    assistant_audio_playback_started: played?.monoNs ?? null,
  };
}

function latenciesOf(a: TurnAnchors): TurnLatencies {
  const pairs = {
    turn_open_ms: [a.turn_open_proposed_ingress_accepted, a.turn_open_emitted],
    first_output_ms: [a.turn_open_emitted, a.first_datalane_output_emitted],
    voice_to_voice_ms: [a.audio_input_ingress, a.assistant_audio_playback_started],
    cancel_fence_ms: [a.cancel_accepted, a.cancel_fence_applied],
  } as const;
  const known = Object.entries(pairs).flatMap(([name, [from, to]]) =>
    from === null || to === null ? [] : [[name, Math.max(0, (to - from) / 1e6)] as const],
  );
  return Object.fromEntries(known);
}

const deliveries: Readonly<Record<string, string>> = {
  playback_completed: "completed",
  playback_cancelled: "cancelled",
  playback_lost: "lost",
};

function deliveryOf(signals: readonly SignalEvent[]): string {
  return signals.map(({ signal }) => deliveries[signal] ?? "").findLast((state) => state !== "") ?? "";
}

const nothing: Said = { state: "none", text: "", chars: 0 };

/** Texts are recorded at L2 alone; below it only how long they were. */
function textsOf(found: TurnFacts, facts: SessionFacts, level: string): { user: Said; said: Said; heard: Said } {
  const { addendum, turn, said, open } = found;
  const replayed = facts.replay?.turns.find((one) => one.turn === turn);
  const spans = [...said].sort(([a], [b]) => a - b).flatMap(([, one]) => [...one]);
  const journaled = facts.replay === null ? -1 : spans.reduce((chars, { from, to }) => chars + to - from, 0);
  const user = replayed?.user ?? "";
  return {
    user: open?.fields.origin === "endpoint" ? asSaid(user, user === "" ? -1 : user.length, level) : nothing,
    said: asSaid(facts.textOf(spans), addendum?.replyChars ?? journaled, level),
    heard: asSaid(replayed?.heard ?? "", addendum?.heardChars ?? -1, level),
  };
}

function asSaid(text: string, chars: number, level: string): Said {
  if (chars === 0) return nothing;
  if (level !== "L2") return { state: "hidden", text: "", chars };
  return text === "" ? { state: "unknown", text: "", chars } : { state: "told", text, chars };
}

function markOf(event: SignalEvent): ControlMark {
  const { monoNs: atNs, signal, emitter, reason, turn, fields } = event;
  const facts = Object.entries(fields).filter(([name]) => name !== "node");
  const detail = facts.map(([name, value]) => `${name}=${value}`).join(" ");
  return { atNs, signal, emitter, reason, turn, node: String(fields.node ?? ""), detail };
}

function pipelineOf(records: readonly TimelineRecord[]): string {
  for (const { body } of records) {
    if (body.case !== "header" || body.value.pipeline === undefined) continue;
    const { name, version } = body.value.pipeline;
    return version === 0 ? name : `${name}@${version}`;
  }
  return "";
}

const notesMax = 100;

function notesOf(
  records: readonly TimelineRecord[],
  facts: SessionFacts,
  problems: readonly string[],
  ended: boolean,
): string[] {
  const notes = problems.map((problem) => `Damage: ${problem}.`);
  for (const { body } of records) {
    if (body.case === "levelChange") {
      const { oldLevel, newLevel } = body.value;
      notes.push(`The recording level went from ${levelNames.name(oldLevel)} to ${levelNames.name(newLevel)}.`);
    } else if (body.case === "predecessorLost") {
      notes.push(`The tail of epoch ${body.value.predecessorEpoch} is lost: at most ${body.value.boundMs} ms.`);
    } else if (body.case === "refusal") notes.push(`A proposal came to no turn: ${body.value.proposalEventId}.`);
    else if (body.case === "marker" && body.value.name === "export_caught_up") {
      notes.push(`Export fell behind by ${body.value.fields.behind_ms ?? "?"} ms and caught up.`);
    } else if (body.case === "erased") notes.push("A record was erased; its digest stands.");
  }
  if (facts.replayFault !== "") notes.push(`The journal cannot be re-executed: ${facts.replayFault}.`);
  if (facts.replay?.identical === false) notes.push("Re-executed, the session came out differently: see the replay.");
  if (facts.replay === null) notes.push("No journal is recorded: times are those of signals and evidence alone.");
  if (!ended) notes.push("The session's end is not recorded: it goes on, or its runtime ended first.");
  return notes.slice(0, notesMax);
}
