/** The transport of a rerun, from where its output parts from the recorded one: exact playout with the recorded latencies. */
import type { Effect } from "@rspp/kernel/effect";
import type { InputBody } from "@rspp/kernel/input";
import type { Script } from "./script.ts";

export interface TurnPlayout {
  /** Everything that left so far is what was recorded: its recorded reports still hold. */
  aligned: boolean;
  generation: number;
  firstNs: number;
  startedNs: number;
  sentUs: number;
  ended: boolean;
  /** -1 while there is none. */
  fencedNs: number;
  fencedGeneration: number;
  given: string[];
}

export function playoutCreate(): TurnPlayout {
  const never = -1;
  return {
    aligned: true,
    generation: 1,
    firstNs: never,
    startedNs: never,
    sentUs: 0,
    ended: false,
    fencedNs: never,
    fencedGeneration: 0,
    given: [],
  };
}

export function playoutTakes(turn: TurnPlayout, effect: Effect, nowNs: number): void {
  if (effect.type === "egress_fence") {
    if (turn.fencedNs < 0) turn.fencedNs = nowNs;
    turn.fencedGeneration = effect.generation;
  } else if (effect.type === "egress_media") {
    if (turn.firstNs < 0) turn.firstNs = nowNs;
    turn.sentUs += effect.durationUs;
    turn.ended ||= effect.end;
    turn.generation = effect.generation;
  }
}

export function playoutReported(turn: TurnPlayout, body: InputBody, nowNs: number): void {
  if (body.type === "fence_ack") turn.given.push("fence_ack");
  if (body.type !== "delivery") return;
  turn.given.push(body.state);
  if (body.state === "started" && turn.startedNs < 0) turn.startedNs = nowNs;
}

/** Reports that are still to come, given what has left so far. */
export function playoutReports(
  turn: TurnPlayout,
  number: number,
  epoch: number,
  script: Script,
  nowNs: number,
): { atNs: number; body: InputBody }[] {
  if (turn.given.some((state) => ["completed", "cancelled", "lost", "fence_ack"].includes(state))) return [];
  const found: { atNs: number; body: InputBody }[] = [];
  const { accepted, started, fence } = latenciesIn(script, number);
  const startNs = turn.startedNs >= 0 ? turn.startedNs : turn.firstNs + started;
  const report = (atNs: number, state: "accepted" | "started" | "completed", playedUs: number): void => {
    if (turn.given.includes(state)) return;
    const { generation } = turn;
    const body: InputBody = { type: "delivery", epoch, turn: number, generation, state, playedUs };
    found.push({ atNs: Math.max(nowNs, atNs), body });
  };
  const fenced = turn.fencedNs >= 0;
  if (turn.firstNs >= 0 && turn.sentUs > 0 && !fenced) {
    report(turn.firstNs + accepted, "accepted", 0);
    report(startNs, "started", 0);
    if (turn.ended) report(startNs + turn.sentUs * 1_000, "completed", turn.sentUs);
  }
  if (fenced) {
    const heard = turn.firstNs < 0 ? 0 : Math.floor((turn.fencedNs - startNs) / 1_000);
    const playedUs = Math.max(0, Math.min(turn.sentUs, heard));
    const { fencedGeneration: generation } = turn;
    const body: InputBody = { type: "fence_ack", epoch, turn: number, generation, playedUs, flushed: 0 };
    found.push({ atNs: Math.max(nowNs, turn.fencedNs + fence), body });
  }
  return found;
}

/** How long the recorded transport took, in this turn or in any. */
function latenciesIn(script: Script, turn: number): { accepted: number; started: number; fence: number } {
  const order = [turn, ...script.reports.keys()];
  const first = (name: string, from: ReadonlyMap<number, number>): number => {
    for (const number of order) {
      const origin = from.get(number);
      const at = script.reports.get(number)?.find(({ body }) => nameOf(body) === name)?.atNs;
      if (origin !== undefined && at !== undefined) return Math.max(0, at - origin);
    }
    return 0;
  };
  return {
    accepted: first("accepted", script.firstMediaNs),
    started: first("started", script.firstMediaNs),
    fence: first("fence_ack", script.fencedNs),
  };
}

function nameOf(body: InputBody): string {
  return body.type === "delivery" ? body.state : body.type;
}
