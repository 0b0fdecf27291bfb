/** What must hold after any run, whatever went in (`kernel.md` §2, §6, §11). For tests. */
import type { Effect, SignalEvent } from "../effect.ts";
import { type DeliveryAddendum, type SealedEvidence, verifyAddendum, verifyEvidence } from "../evidence.ts";
import type { World } from "./world.ts";

const REFUSALS = ["defer", "reject", "stale_epoch_reject", "deauthorized_drain"];
/** Signals that must not come once a turn has closed; those of delivery, cancel and hold may. */
const BEFORE_TERMINAL_ONLY = [
  "turn_open",
  "commit",
  "abort",
  "budget_warning",
  "budget_exhausted",
  "provider_error",
  "provider_switch",
  "watermark",
  "credit_grant",
  "flow_xon",
  "flow_xoff",
  "drop_notice",
  "degrade",
];

interface Seen {
  signals: SignalEvent[];
  evidenceAt: number;
  addendumAt: number;
  sealed: SealedEvidence | null;
}

function collect(effects: readonly Effect[]): { turns: Map<number, Seen>; refusals: number; refused: number } {
  const turns = new Map<number, Seen>();
  let refusals = 0;
  let refused = 0;
  const of = (turn: number): Seen => {
    let seen = turns.get(turn);
    if (seen === undefined) {
      seen = { signals: [], evidenceAt: -1, addendumAt: -1, sealed: null };
      turns.set(turn, seen);
    }
    return seen;
  };
  effects.forEach((effect, at) => {
    if (effect.type === "signal") {
      const { event } = effect;
      if (event.turn !== 0) of(event.turn).signals.push(event);
      else if (REFUSALS.includes(event.signal) && event.fields.scope !== "scheduling_point") refused += 1;
      if (event.signal === "commit" || event.signal === "abort") {
        if (of(event.turn).evidenceAt === -1) throw new Error(`terminal of turn ${event.turn} before its evidence`);
      }
    } else if (effect.type === "record") {
      const { record } = effect;
      if (record.kind === "refusal") refusals += 1;
      if (record.kind === "evidence") {
        if (of(record.turn).evidenceAt !== -1) throw new Error(`turn ${record.turn} was sealed twice`);
        of(record.turn).evidenceAt = at;
        of(record.turn).sealed = record.manifest as SealedEvidence;
      }
      if (record.kind === "delivery_addendum") {
        const seen = of(record.turn);
        if (seen.addendumAt !== -1) throw new Error(`turn ${record.turn} has two addenda`);
        seen.addendumAt = at;
        if (seen.sealed === null || !verifyAddendum(seen.sealed, record.addendum as DeliveryAddendum))
          throw new Error(`the addendum of turn ${record.turn} does not follow its evidence`);
      }
    }
  });
  return { turns, refusals, refused };
}

/** @throws Error naming the first rule that does not hold. `quiet`: nothing more can come, so every turn has settled. */
export function checkRun(world: World, quiet: boolean): void {
  if (world.problems.length > 0) throw new Error(world.problems.slice(0, 3).join("; "));
  const { turns, refusals, refused } = collect(world.log.map(({ effect }) => effect));
  if (refusals !== refused) throw new Error(`${refused} refused proposals, ${refusals} refusal records`);
  for (const [number, seen] of turns) checkTurn(number, seen, quiet);
  if (quiet) checkBounded(world);
}

function checkTurn(number: number, seen: Seen, quiet: boolean): void {
  const names = seen.signals.map((event) => event.signal);
  const say = `turn ${number}: ${names.join(" ")}`;
  if (names.filter((name) => name === "turn_open").length !== 1) throw new Error(`one turn_open (${say})`);
  if (names[0] !== "turn_open") throw new Error(`turn_open comes first (${say})`);
  const terminals = names.filter((name) => name === "commit" || name === "abort").length;
  const closes = names.filter((name) => name === "close").length;
  if (terminals > 1 || closes > 1 || terminals !== closes) throw new Error(`one terminal, then close (${say})`);
  if (terminals === 0) {
    if (quiet) throw new Error(`never closed (${say})`);
    return;
  }
  const at = names.findIndex((name) => name === "commit" || name === "abort");
  if (names[at + 1] !== "close") throw new Error(`close follows the terminal (${say})`);
  const late = names.slice(at + 1).find((name) => BEFORE_TERMINAL_ONLY.includes(name));
  if (late !== undefined) throw new Error(`${late} after the terminal (${say})`);
  if (names.filter((name) => name === "playback_cancelled").length > 1) throw new Error(`cancelled twice (${say})`);
  if (names.includes("budget_exhausted") && !names.includes("budget_warning")) throw new Error(`unwarned (${say})`);
  if (seen.sealed === null || !verifyEvidence(seen.sealed)) throw new Error(`no sound evidence (${say})`);
  if (seen.sealed.missing.length > 0) throw new Error(`evidence lacks ${seen.sealed.missing.join(", ")} (${say})`);
  if (quiet && seen.addendumAt === -1) throw new Error(`never settled (${say})`);
}

function checkBounded(world: World): void {
  const s = world.state;
  const ended = s.lifecycle.phase === "ended";
  const expect = (name: string, found: number, max: number): void => {
    if (found > max) throw new Error(`${name}: ${found} left, at most ${max} when all is quiet`);
  };
  expect("turns", s.turns.length, 0);
  expect("timers", Object.keys(s.timers).length, 0);
  expect("invocations", Object.keys(s.invocations).length, 0);
  expect("commands", Object.keys(s.commands).length, 1);
  expect("positioned", s.positioned.length, 0);
  expect("evidence bytes taken", s.recording.takenBytes, 0);
  expect("lanes", s.lanes.data.length + s.lanes.telemetry.length, 0);
  expect("fence entries", s.fence.entries.length, 0);
  const reachable = world.reachable();
  const lost = [...world.live.keys()].filter((ref) => ended || !reachable.has(ref));
  if (!ended && lost.length > 0)
    throw new Error(`payloads ${lost.slice(0, 5).join(", ")} neither released nor reachable`);
}
