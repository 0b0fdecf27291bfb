import type { MonoNs } from "@rspp/base/brand";
import { asMonoNs, monoPlusNs, msToNs } from "@rspp/base/brand";
import { invariant } from "@rspp/base/invariant";
import { limits } from "./limits.ts";
import { fencesCreate, isFenced, raiseFence } from "./link-fence.ts";
import type { Cutoff, Lane, LaneMarks } from "./link-types.ts";
import type {
  ReattachAnswer,
  ReattachRefusal,
  ReattachRequest,
  ReattachServerState,
  ReplayEntry,
  ReplayLane,
  TurnView,
} from "./reattach-types.ts";

/** The server's end of a session that is attached for the first time. */
export function createReattachServer<P>(session: string, tokenRef: string): ReattachServerState<P> {
  return {
    session,
    tokenRef,
    phase: "attached",
    attachment: 1,
    lastAttempt: 0,
    detachedAtNs: asMonoNs(0),
    openTurn: null,
    last: { control: 0, data: 0, telemetry: 0 },
    lost: { control: 0, data: 0, telemetry: 0 },
    entries: [],
    bytes: 0,
    spare: [],
    fences: fencesCreate(),
  };
}

/**
 * Keeps an event that is sent, or would be if someone were attached, and gives its sequence. Bounded by number, bytes and
 * age: the oldest goes first, and whoever has not seen it then has to begin from a snapshot.
 */
export function replayRecord<P>(
  state: ReattachServerState<P>,
  event: { lane: Lane; turn: number | null; generation: number; bytes: number; payload: P },
  now: MonoNs,
): number {
  const { lane, turn, generation, bytes, payload } = event;
  const seq = ++state.last[lane];
  if (lane === "telemetry") return seq;
  // What is cut was never to be heard: it takes its sequence and nothing else.
  if (lane === "data" && isFenced(state.fences, turn, generation)) return seq;
  const spare = state.spare.pop();
  const entry = spare ?? { lane, seq, turn, generation, bytes, recordedAtNs: now, payload };
  if (spare !== undefined) fill(spare, lane, event, seq, now);
  state.entries.push(entry);
  state.bytes += bytes;
  evict(state, now);
  return seq;
}

function fill<P>(
  entry: ReplayEntry<P>,
  lane: ReplayLane,
  event: { turn: number | null; generation: number; bytes: number; payload: P },
  seq: number,
  now: MonoNs,
): void {
  entry.lane = lane;
  entry.seq = seq;
  entry.turn = event.turn;
  entry.generation = event.generation;
  entry.bytes = event.bytes;
  entry.recordedAtNs = now;
  entry.payload = event.payload;
}

/**
 * A payload that was thrown away, to be filled anew for the next {@link replayRecord}; undefined where there is none. Who
 * reuses payloads copies those of an answer before the next event is recorded.
 */
export function replaySpare<P>(state: ReattachServerState<P>): P | undefined {
  return state.spare[state.spare.length - 1]?.payload;
}

function discard<P>(state: ReattachServerState<P>, entry: ReplayEntry<P>): void {
  state.bytes -= entry.bytes;
  if (state.spare.length < limits.REPLAY_SPARE_ITEMS_MAX) state.spare.push(entry);
}

/** The client has these for good; they need not be replayed. */
export function replayAcked<P>(state: ReattachServerState<P>, acked: LaneMarks): void {
  keep(state, (e) => e.seq > acked[e.lane]);
}

/** Nothing at or below a fence is replayed (kernel.md §6). */
export function replayFence<P>(state: ReattachServerState<P>, cutoff: Cutoff): void {
  raiseFence(state.fences, cutoff);
  keep(state, (e) => e.lane !== "data" || !isFenced(state.fences, e.turn, e.generation));
}

/** Which turn is open now; null when none. */
export function reattachTurn<P>(state: ReattachServerState<P>, openTurn: number | null): void {
  state.openTurn = openTurn;
}

/** The connection of `attachment` is gone. That of an earlier attachment going away changes nothing. */
export function reattachDetached<P>(state: ReattachServerState<P>, attachment: number, now: MonoNs): void {
  if (state.phase !== "attached" || attachment !== state.attachment) return;
  state.phase = "detached";
  state.detachedAtNs = now;
}

/** The session is over; nobody may come back to it. */
export function reattachEnd<P>(state: ReattachServerState<P>): void {
  state.phase = "ended";
  state.entries = [];
  state.spare = [];
  state.bytes = 0;
}

/** True exactly once: the client has been away for longer than it may be. */
export function reattachTick<P>(state: ReattachServerState<P>, now: MonoNs): boolean {
  const deadline = reattachDeadline(state);
  if (deadline === null || now < deadline) return false;
  reattachEnd(state);
  state.phase = "expired";
  return true;
}

/** When a client that is away has been away for too long; null while it is attached or the session over. */
export function reattachDeadline<P>(state: ReattachServerState<P>): MonoNs | null {
  if (state.phase !== "detached") return null;
  return monoPlusNs(state.detachedAtNs, msToNs(limits.REATTACH_DEADLINE_MS));
}

/**
 * A client wants its session back. It may come before the server has noticed that it went: the newer attempt then takes
 * the place of the older connection, which the driver closes by its attachment.
 */
export function reattachRequest<P>(
  state: ReattachServerState<P>,
  request: ReattachRequest,
  now: MonoNs,
): ReattachAnswer<P> {
  reattachTick(state, now);
  const { attempt, lastReceived } = request;
  const refusal = refusalOf(state, request);
  if (refusal !== null) return { kind: "refused", attempt, reason: refusal };
  evict(state, now);
  state.lastAttempt = attempt;
  state.phase = "attached";
  const attachment = ++state.attachment;
  const { openTurn } = state;
  for (const lane of ["control", "data"] as const) {
    if (lastReceived[lane] < state.lost[lane]) {
      return { kind: "too_old", attempt, attachment, lane, openTurn, snapshotAt: { ...state.last } };
    }
  }
  const events = state.entries.filter((e) => e.seq > lastReceived[e.lane]).map((e) => ({ ...e }));
  const turn = viewTurn(request.openTurn, openTurn);
  return { kind: "resume", attempt, attachment, turn, openTurn, events, resumeAt: { ...state.last } };
}

function refusalOf<P>(state: ReattachServerState<P>, request: ReattachRequest): ReattachRefusal | null {
  if (request.session !== state.session) return "wrong_session";
  if (request.tokenRef !== state.tokenRef) return "bad_token";
  if (state.phase === "ended" || state.phase === "expired") return state.phase;
  if (request.attempt <= state.lastAttempt) return "old_attempt";
  for (const lane of ["control", "data", "telemetry"] as const) {
    // Nobody has received what was never sent: a wrong session, or a successor that lost the tail.
    if (request.lastReceived[lane] > state.last[lane]) return "ahead";
  }
  return null;
}

function viewTurn(seen: number | null, open: number | null): TurnView {
  if (seen === open) return "same";
  if (open === null) return "closed_meanwhile";
  return seen === null ? "opened_meanwhile" : "other_turn";
}

function evict<P>(state: ReattachServerState<P>, now: MonoNs): void {
  const ageNs = msToNs(limits.REPLAY_AGE_MS);
  for (let first = state.entries[0]; first !== undefined; first = state.entries[0]) {
    const over = state.entries.length > limits.REPLAY_ITEMS_MAX || state.bytes > limits.REPLAY_BYTES_MAX;
    if (!over && now - first.recordedAtNs <= ageNs) return;
    state.entries.shift();
    discard(state, first);
    invariant(first.seq > state.lost[first.lane], "events leave the replay buffer in order", first.seq);
    state.lost[first.lane] = first.seq;
  }
}

function keep<P>(state: ReattachServerState<P>, wanted: (entry: ReplayEntry<P>) => boolean): void {
  const { entries } = state;
  let kept = 0;
  for (const entry of entries) {
    if (wanted(entry)) entries[kept++] = entry;
    else discard(state, entry);
  }
  entries.length = kept;
}
