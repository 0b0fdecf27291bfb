/** What differs between two runs, place by place. What either does not know is no difference. */
import type { RunDivergenceClass } from "./expected.ts";
import {
  latenciesOf,
  type RunCall,
  type RunEvent,
  type RunText,
  type RunTimeline,
  type RunTurn,
} from "./run-timeline.ts";

export interface Difference {
  class: RunDivergenceClass;
  /** 0: the session. */
  turn: number;
  /** Empty for none. */
  node: string;
  what: string;
  a: string;
  b: string;
  /** TIMING: milliseconds that b took longer, negative for shorter; else null. */
  deltaMs: number | null;
}

type Tell = (
  kind: RunDivergenceClass,
  what: string,
  a: string | number,
  b: string | number,
  node?: string,
  deltaMs?: number,
) => void;

/** Signals of authority (`kernel.md` §7): a difference there is never explained. */
const AUTHORITY: ReadonlySet<string> = new Set([
  "stale_epoch_reject",
  "deauthorized_drain",
  "lease_issued",
  "lease_rotated",
  "migration_start",
  "migration_finish",
  "session_handoff",
]);

/** Which one it was is told by the turn itself; its place in the order counts all the same. */
const TERMINALS: ReadonlySet<string> = new Set(["commit", "abort"]);

export function differencesOf(a: RunTimeline, b: RunTimeline): Difference[] {
  const found: Difference[] = [];
  const tell =
    (turn: number): Tell =>
    (kind, what, left, right, node = "", deltaMs) =>
      found.push({ class: kind, turn, node, what, a: String(left), b: String(right), deltaMs: deltaMs ?? null });
  if (a.sessionPlanHash !== "" && b.sessionPlanHash !== "" && a.sessionPlanHash !== b.sessionPlanHash)
    tell(0)("PLAN", "plan_hash", a.sessionPlanHash, b.sessionPlanHash);
  const turns = [...new Set([...a.turns, ...b.turns].map(({ turn }) => turn))].sort((x, y) => x - y);
  for (const number of turns) {
    const [left, right] = [a, b].map(({ turns: all }) => all.find(({ turn }) => turn === number));
    if (left === undefined || right === undefined)
      tell(number)("OUTCOME", "turn", left ? "opened" : "no turn", right ? "opened" : "no turn");
    else diffTurn(left, right, tell(number));
  }
  // Events of a turn that one side has not opened are told with it.
  const both = new Set(turns.filter((n) => [a, b].every(({ turns: all }) => all.some(({ turn }) => turn === n))));
  for (const number of [0, ...both]) diffEvents(eventsOf(a, b, number), eventsOf(b, a, number), tell(number));
  return found;
}

function diffTurn(a: RunTurn, b: RunTurn, tell: Tell): void {
  const known = (x: string, y: string): boolean => x !== "" && y !== "" && x !== y;
  if (known(a.planHash, b.planHash)) tell("PLAN", "plan_hash", a.planHash, b.planHash);
  if (known(a.origin, b.origin)) tell("OUTCOME", "origin", a.origin, b.origin);
  for (const [i, name] of (["epoch_at_open", "epoch_at_terminal"] as const).entries()) {
    const [x = -1, y = -1] = [a.epochs[i], b.epochs[i]];
    if (x !== -1 && y !== -1 && x !== y) tell("AUTHORITY", name, x, y);
  }
  const [endA, endB] = [a, b].map(({ terminal, reason }) => (reason === "" ? terminal : `${terminal}(${reason})`));
  if (endA !== endB) tell("OUTCOME", "terminal", endA || "open", endB || "open");
  if (a.delivery !== b.delivery) tell("OUTCOME", "delivery", a.delivery || "unsettled", b.delivery || "unsettled");
  diffText(a.user, b.user, "user_text", tell);
  diffText(a.output, b.output, "output_text", tell);
  for (const name of ["audioUs", "playedUs", "heardChars"] as const)
    if (a[name] >= 0 && b[name] >= 0 && a[name] !== b[name]) tell("PAYLOAD", AMOUNTS[name], a[name], b[name]);
  diffCalls(a.calls, b.calls, tell);
  const [latA, latB] = [latenciesOf(a), latenciesOf(b)];
  for (const [name, before] of Object.entries(latA)) diffTime(name, before, latB[name], "", tell);
}

const AMOUNTS = { audioUs: "output_audio_us", playedUs: "played_us", heardChars: "heard_chars" } as const;

function diffText(a: RunText, b: RunText, what: string, tell: Tell): void {
  if (a.text !== null && b.text !== null) {
    if (a.text !== b.text) tell("PAYLOAD", what, a.text, b.text);
  } else if (a.chars >= 0 && b.chars >= 0 && a.chars !== b.chars)
    tell("PAYLOAD", what, `${a.chars} characters`, `${b.chars} characters`);
}

function diffTime(what: string, before: number, after: number | undefined, node: string, tell: Tell): void {
  if (after === undefined || Math.abs(after - before) < 0.001) return;
  tell("TIMING", what, round(before), round(after), node, round(after - before));
}

const round = (ms: number): number => Math.round(ms * 1_000) / 1_000;

/** Attempts of each node in their order. */
function diffCalls(a: readonly RunCall[], b: readonly RunCall[], tell: Tell): void {
  const nodes = [...new Set([...a, ...b].map(({ node, tool }) => `${node}\n${tool}`))];
  for (const key of nodes) {
    const of = (calls: readonly RunCall[]) => calls.filter(({ node, tool }) => `${node}\n${tool}` === key);
    const [left, right] = [of(a), of(b)];
    const node = key.split("\n")[0] ?? "";
    const named = (calls: readonly RunCall[]) => calls.map(({ provider }) => provider).join(", ") || "none";
    if (named(left) !== named(right)) tell("PROVIDER_CHOICE", "provider", named(left), named(right), node);
    for (let i = 0; i < Math.min(left.length, right.length); i++)
      diffCall(left[i] as RunCall, right[i] as RunCall, node, tell);
  }
}

function diffCall(a: RunCall, b: RunCall, node: string, tell: Tell): void {
  if (a.outcome !== b.outcome) tell("OUTCOME", "call_outcome", a.outcome || "open", b.outcome || "open", node);
  const took = (call: RunCall, end: number | null) => (end === null ? null : (end - call.openedNs) / 1e6);
  for (const [what, x, y] of [
    ["first_result_ms", took(a, a.firstNs), took(b, b.firstNs)],
    ["call_ms", took(a, a.endedNs), took(b, b.endedNs)],
  ] as const)
    if (x !== null && y !== null) diffTime(what, x, y, node, tell);
}

/** What leaves by the data lane, and when something was refused, is known where both runs have a journal. */
function eventsOf(timeline: RunTimeline, other: RunTimeline, turn: number): RunEvent[] {
  const journals = timeline.basis === "journal" && other.basis === "journal";
  const told = ({ lane, kind }: RunEvent): boolean => journals || (lane === "control" && kind !== "refusal");
  return timeline.events.filter((event) => event.turn === turn && told(event));
}

function diffEvents(a: readonly RunEvent[], b: readonly RunEvent[], tell: Tell): void {
  const [left, right] = [a, b].map((events) => events.map(nameOf));
  if (left === undefined || right === undefined) return;
  const counts = new Map<string, [number, number]>();
  for (const [side, names] of [left, right].entries())
    for (const name of names) {
      const count = counts.get(name) ?? [0, 0];
      count[side as 0 | 1] += 1;
      counts.set(name, count);
    }
  let moved = true;
  for (const [name, [x, y]] of counts) {
    if (x === y) continue;
    moved = false;
    const { kind, node } = partsOf(name);
    const times = (n: number): string => (n === 0 ? "absent" : `${n} ×`);
    tell(AUTHORITY.has(kind) ? "AUTHORITY" : "ORDERING", `event:${kind}`, times(x), times(y), node);
  }
  const at = moved ? left.findIndex((name, i) => name !== right[i]) : -1;
  if (at === -1) return;
  const [x, y] = [partsOf(left[at] ?? ""), partsOf(right[at] ?? "")];
  tell("ORDERING", "event_order", `${x.kind} at place ${at + 1}`, `${y.kind} at place ${at + 1}`, x.node);
}

function nameOf({ lane, kind, node, reason }: RunEvent): string {
  return (TERMINALS.has(kind) ? [lane, "terminal", node] : [lane, kind, node, reason]).join("\n");
}

function partsOf(name: string): { kind: string; node: string } {
  const [, kind = "", node = ""] = name.split("\n");
  return { kind, node };
}
