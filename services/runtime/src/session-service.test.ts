import { CancelScope, RecordingLevel } from "@rspp/gen/rspp/common/v1/lane_pb";
import { Reason } from "@rspp/gen/rspp/common/v1/reason_pb";
import { TurnOrigin } from "@rspp/gen/rspp/event/v1/control_pb";
import type { Envelope } from "@rspp/gen/rspp/event/v1/event_pb";
import { CancelMode, SecondProposal } from "@rspp/gen/rspp/pipeline/v1/arbitration_pb";
import { SessionState } from "@rspp/gen/rspp/runtime/v1/session_pb";
import { EventKind, SessionService } from "@rspp/gen/rspp/runtime/v1/session_service_pb";
import { connectRpc, rpcErrorOf } from "@rspp/rpc/clients";
import { errorRule } from "@rspp/rpc/errors";
import { expect, test } from "vitest";
import type { RuntimeSession } from "./runtime.ts";
import { sessionRoute } from "./session-service.ts";
import { createSessionBook } from "./session-service-book.ts";
import { watchSession } from "./session-service-watch.ts";
import { type Bench, bench } from "./testing/bench.ts";
import { peerOf, soon } from "./testing/peers.ts";

const tenantId = "tenant-1";

async function rig(watchCapacity?: number) {
  const b = bench();
  const book = createSessionBook(b.runtime, "runtime-1");
  const capacity = watchCapacity === undefined ? {} : { watchCapacity };
  const { connection, server } = await peerOf("runtime", [sessionRoute({ book, clock: b.clock, ...capacity })]);
  const sessions = connection.client(SessionService);
  const open = (sessionId: string, tenant = tenantId) => {
    const opened = b.open({ sessionId, tenantId: tenant });
    book.opened(opened.session);
    return opened;
  };
  return {
    b,
    book,
    server,
    sessions,
    open,
    key: (sessionId: string, tenant = tenantId) => ({ tenantId: tenant, sessionId }),
  };
}

/** A call that waits for the session, whose time somebody has to move. */
async function turning<T>(b: Bench, call: Promise<T>): Promise<T> {
  let over = false;
  const done = call.finally(() => {
    over = true;
  });
  done.catch(() => undefined);
  for (let i = 0; i < 500 && !over; i++) {
    await b.pass(20);
    await new Promise((resolve) => setImmediate(resolve));
  }
  return done;
}

async function refusalOf(call: Promise<unknown>) {
  const failure = await call.then(
    () => new Error("not refused"),
    (thrown: unknown) => thrown,
  );
  const error = rpcErrorOf(failure, "none");
  return { name: errorRule(error.reason).name, fields: error.detail.violations.map(({ field }) => field), error };
}

const said = (session: { tenantId: string; sessionId: string }, say: string, idempotencyKey: string) => {
  return { session, origin: TurnOrigin.API, say, idempotencyKey };
};

test("F-076 an operator captures one session by its id; another tenant's, one that is over and a time out of range are refused", async () => {
  const { b, sessions, open, key } = await rig();
  open("a");
  open("b");
  open("foreign", "tenant-2");
  await b.pass(100);
  const ask = { session: key("a"), level: RecordingLevel.L2, durationMs: 60_000 };
  const answer = await sessions.captureSession(ask);
  expect(answer.policyId).toBe("capture/1");
  expect(Number(answer.untilWallMs)).toBe(1_700_000_060_100);
  await b.pass(100);
  const level = async (id: string) => (await sessions.getSession({ session: key(id) })).info?.recordingLevel;
  expect([await level("a"), await level("b")]).toEqual([RecordingLevel.L2, RecordingLevel.L0]);
  expect((await refusalOf(sessions.captureSession({ ...ask, session: key("foreign") }))).name).toBe(
    "session_not_found",
  );
  expect((await refusalOf(sessions.captureSession({ ...ask, durationMs: 10 }))).fields).toEqual(["duration_ms"]);
  expect((await refusalOf(sessions.captureSession({ ...ask, level: 0 }))).fields).toEqual(["level"]);
  await b.pass(60_000);
  expect(await level("a")).toBe(RecordingLevel.L0);
  await turning(b, sessions.endSession({ session: key("a"), reason: Reason.OPERATOR_CANCEL }));
  expect((await refusalOf(sessions.captureSession(ask))).name).toBe("session_ended");
});

test("sessions are listed newest first, in parts, of one tenant alone; another's is not found", async () => {
  const { b, sessions, open, key } = await rig();
  for (const id of ["a", "b", "c"]) {
    open(id);
    await b.pass(50);
  }
  open("foreign", "tenant-2");
  const first = await sessions.listSessions({ tenantId, page: { size: 2 } });
  expect(first.sessions.map((one) => one.session?.sessionId)).toEqual(["c", "b"]);
  const rest = await sessions.listSessions({ tenantId, page: { size: 2, token: first.nextPageToken } });
  expect([rest.sessions.map((one) => one.session?.sessionId), rest.nextPageToken]).toEqual([["a"], ""]);
  expect(first.sessions[0]).toMatchObject({ state: SessionState.ACTIVE, instanceId: "runtime-1" });
  const calls = [
    sessions.getSession({ session: key("foreign") }),
    sessions.proposeTurn(said(key("foreign"), "x", "k")),
    sessions.endSession({ session: key("foreign"), reason: Reason.OPERATOR_CANCEL }),
    sessions.getSession({ session: key("nobody") }),
  ];
  for (const call of calls) expect((await refusalOf(call)).name).toBe("session_not_found");
  expect(await refusalOf(sessions.listSessions({ tenantId, page: { token: "nonsense" } }))).toMatchObject({
    name: "schema_validation_error",
    fields: ["page.token"],
  });
});

test("a proposal is said once however often it is asked under its key, and names the event it became", async () => {
  const { b, sessions, open, key } = await rig();
  const { session, line } = open("s");
  await b.pass(100);
  const ask = said(key("s"), "Please hold.", "hold-1");
  const [one, two] = await turning(b, Promise.all([sessions.proposeTurn(ask), sessions.proposeTurn(ask)]));
  expect(one.proposalEventId).toMatch(/^r-\d+$/);
  expect(two).toEqual(one);
  await b.until(() => line.signals().includes("close/1"));
  await b.pass(10_000);
  expect((await turning(b, sessions.proposeTurn(ask))).proposalEventId).toBe(one.proposalEventId);
  await b.pass(5_000);
  expect(session.view()).toMatchObject({ turns: 1, openTurn: 0 });
  expect(line.sent.some((m) => m.kind === "text" && m.role === "assistant" && m.text.includes("Please hold"))).toBe(
    true,
  );
  const other = await turning(b, sessions.proposeTurn({ ...ask, origin: TurnOrigin.OPERATOR, idempotencyKey: "2" }));
  expect(other.proposalEventId).not.toBe(one.proposalEventId);
});

test("what this build cannot do of a proposal or a cancel is refused by its field", async () => {
  const { b, sessions, open, key } = await rig();
  open("s");
  await b.pass(100);
  const ask = said(key("s"), "Hello.", "k");
  const cut = { session: key("s"), scope: CancelScope.TURN, reason: Reason.OPERATOR_CANCEL, idempotencyKey: "c" };
  const refused: [() => Promise<unknown>, string][] = [
    [() => sessions.proposeTurn({ ...ask, say: "", hangUp: true }), "hang_up"],
    [() => sessions.proposeTurn({ ...ask, second: SecondProposal.DROP }), "second"],
    [() => sessions.proposeTurn({ ...ask, origin: TurnOrigin.TIMER }), "origin"],
    [() => turning(b, sessions.proposeTurn({ ...ask, say: "x".repeat(4_090) })), "say"],
    [() => sessions.cancelScope({ ...cut, scope: CancelScope.NODE, targetId: "" }), "scope"],
    [() => sessions.cancelScope({ ...cut, targetId: "llm" }), "target_id"],
  ];
  for (const [call, field] of refused) {
    expect(await refusalOf(call())).toMatchObject({ name: "schema_validation_error", fields: [field] });
  }
});

test("F-034 an operator cancels the open turn: fenced at the caller, once per key", async () => {
  const { b, sessions, open, key } = await rig();
  const { session, line } = open("s");
  await b.talk(line, 20, 20);
  await b.until(() => line.played.length > 5);
  const cut = { session: key("s"), scope: CancelScope.TURN, reason: Reason.OPERATOR_CANCEL, idempotencyKey: "cut" };
  const { cancelEventId } = await turning(b, sessions.cancelScope(cut));
  expect(cancelEventId).toMatch(/^r-\d+$/);
  expect(line.sent.some((m) => m.kind === "fence" && m.turn === 1)).toBe(true);
  const before = session.stats().inputs;
  expect((await sessions.cancelScope(cut)).cancelEventId).toBe(cancelEventId);
  expect(session.stats().inputs).toBe(before);
});

test("F-041 asked softly, the clause being played is played to its end, then the fence goes up", async () => {
  const { b, sessions, open, key } = await rig();
  const { line } = open("s");
  await b.talk(line, 20, 20);
  await b.until(() => line.played.length > 5);
  const cut = { session: key("s"), scope: CancelScope.TURN, reason: Reason.OPERATOR_CANCEL, idempotencyKey: "cut" };
  const { cancelEventId } = await turning(b, sessions.cancelScope({ ...cut, mode: CancelMode.SOFT }));
  expect(cancelEventId).toMatch(/^r-\d+$/);
  const fenced = (): boolean => line.sent.some((m) => m.kind === "fence" && m.turn === 1);
  expect(fenced()).toBe(false);
  await b.until(fenced);
});

test("end: at once, or after the open turn; asked again it is over all the same, and nothing more can be asked", async () => {
  const { b, sessions, open, key } = await rig();
  open("now");
  await b.pass(100);
  const ask = { session: key("now"), reason: Reason.OPERATOR_CANCEL };
  expect((await turning(b, sessions.endSession(ask))).info?.state).toBe(SessionState.ENDED);
  expect((await sessions.endSession(ask)).info?.state).toBe(SessionState.ENDED);
  expect((await refusalOf(sessions.proposeTurn(said(key("now"), "x", "k")))).name).toBe("session_ended");
  expect((await sessions.getSession({ session: key("now") })).info?.state).toBe(SessionState.ENDED);
  expect((await sessions.listSessions({ tenantId })).sessions).toEqual([]);

  const { session, line } = open("later");
  await b.talk(line, 20, 20);
  await b.until(() => line.played.length > 5);
  const drained = sessions.endSession({ ...ask, session: key("later"), drainMs: 60_000 });
  const { info } = await turning(b, drained);
  expect([SessionState.DRAINING, SessionState.ENDED]).toContain(info?.state);
  await b.until(() => session.view().phase === "ended");
  expect(line.signals()).toContain("commit/1");
});

test("X-01 the agent hangs up: what it says is played out, no other turn opens, then the session ends with that reason", async () => {
  const { b, sessions, open, key } = await rig();
  const { session, line } = open("s");
  await b.pass(100);
  await turning(b, sessions.proposeTurn(said(key("s"), "Thank you for calling.", "1")));
  await b.until(() => line.played.length > 2);
  let reason = "";
  void session.ended.then((end) => {
    reason = end.reason;
  });
  await turning(b, sessions.endSession({ session: key("s"), reason: Reason.AGENT_HANGUP, drainMs: 60_000 }));
  await turning(
    b,
    sessions.proposeTurn(said(key("s"), "One more thing.", "2")).catch(() => undefined),
  );
  await b.until(() => reason !== "");
  expect(reason).toBe("agent_hangup");
  expect(line.signals().filter((name) => name.startsWith("commit"))).toEqual(["commit/1"]);
  expect(line.sent.filter((m) => m.kind === "media" && m.end)).toHaveLength(1);
});

async function collect(
  { sessions }: Awaited<ReturnType<typeof rig>>,
  session: RuntimeSession,
  ask: object,
  sign: "text" | "audio" | "debug",
) {
  const events: Envelope[] = [];
  let dropped = 0n;
  const over = (async () => {
    const key = { tenantId, sessionId: session.id };
    for await (const told of sessions.watchSession({ session: key, ...ask })) {
      events.push(...told.events);
      dropped = told.dropped;
    }
  })();
  await soon(() => session.events.wants(sign));
  return { events, over, dropped: () => dropped };
}

test("F-022 a watch tells by default all but audio and debug, or the kinds asked for, until the session is over", async () => {
  const r = await rig();
  const { b } = r;
  const { session, line } = r.open("s");
  const usual = await collect(r, session, {}, "text");
  const sound = await collect(r, session, { kinds: [EventKind.AUDIO] }, "audio");
  const debugged = await collect(r, session, { kinds: [EventKind.ERROR], debugForMs: 500 }, "debug");
  await b.talk(line, 20, 20);
  await b.until(() => line.sent.some((m) => m.kind === "media" && m.end));
  await b.pass(20_000);
  session.operator("end", { reason: "done" });
  await b.pass(1_000);
  await Promise.all([usual.over, sound.over, debugged.over]);
  const kindsOf = ({ events }: { events: Envelope[] }) =>
    [...new Set(events.map(({ payload }) => payload.case))].sort();
  expect(kindsOf(usual)).toEqual(["control", "metrics", "text"]);
  expect(kindsOf(sound)).toEqual(["audio"]);
  expect(kindsOf(debugged)).toEqual(["debug"]);
  const debugMs = debugged.events.map(({ monotonicNs }) => Number(monotonicNs) / 1e6);
  expect(Math.max(...debugMs)).toBeLessThanOrEqual(600);
  const opened = usual.events.find(({ payload }) => payload.case === "control" && payload.value.signal === 2);
  expect(opened).toMatchObject({ tenantId, sessionId: "s", authorityEpoch: 1n, turnNumber: 1 });
  expect(opened?.eventId).toBe(`r-${opened?.runtimeSequence}`);
  expect(new Set(usual.events.map(({ eventId }) => eventId)).size).toBe(usual.events.length);
  expect(usual.dropped()).toBe(0n);
});

/** A session that only has events, to be flooded. */
function noisy(b: Bench): { session: RuntimeSession; emit(kind: "metrics" | "text", n: number): void } {
  const { session } = b.open({ sessionId: "noisy", tenantId });
  const emit = (kind: "metrics" | "text", n: number): void => {
    const atNs = b.clock.nowNs();
    const text = { turn: 1, role: "user", text: `word ${n}`, final: false, segment: 0, revision: n } as const;
    if (kind === "text") session.events.emit({ kind, atNs, ...text });
    else session.events.emit({ kind, atNs, name: `m${n}_ms`, value: n, turn: 1, node: "", edge: "" });
  };
  return { session, emit };
}

test("F-022 a watcher that is too slow loses telemetry first, then its oldest events, and is told how many", async () => {
  const b = bench();
  const { session, emit } = noisy(b);
  const signal = new AbortController();
  const kinds = ["text", "metrics"] as const;
  const options = { clock: b.clock, kinds, debugForMs: 0, signal: signal.signal, capacity: 20 };
  const watch = watchSession(session, options);
  const first = watch.next();
  await new Promise((resolve) => setImmediate(resolve));
  emit("text", 0);
  await first;
  for (let i = 1; i <= 15; i++) {
    emit("metrics", i);
    emit("text", i);
  }
  await new Promise((resolve) => setImmediate(resolve));
  const batch = (await watch.next()).value;
  const texts = batch?.events.filter(({ payload }) => payload.case === "text") ?? [];
  const metrics = batch?.events.filter(({ payload }) => payload.case === "metrics") ?? [];
  expect([texts.length, metrics.length, batch?.dropped]).toEqual([15, 5, 10]);
  for (let i = 0; i < 50; i++) emit("text", 100 + i);
  await new Promise((resolve) => setImmediate(resolve));
  const late = (await watch.next()).value;
  expect([late?.events.length, late?.dropped]).toEqual([20, 40]);
  expect(late?.events.at(-1)?.payload.value).toMatchObject({ text: "word 149" });
  const last = watch.next();
  signal.abort();
  expect((await last).done).toBe(true);
});

test("F-022 over a socket too, a watcher that reads no more holds nothing up, and is told later what it lost", async () => {
  const { b, server } = await rig();
  const { session, emit } = noisy(b);
  const remote = connectRpc({ baseUrl: `http://127.0.0.1:${server.port}`, domain: "runtime", attemptsMax: 1 });
  const stop = new AbortController();
  const key = { tenantId, sessionId: "noisy" };
  const watch = remote.client(SessionService).watchSession({ session: key }, { signal: stop.signal });
  const reading = watch[Symbol.asyncIterator]();
  const first = reading.next();
  await soon(() => session.events.wants("text"));
  emit("text", 0);
  await first;
  for (let burst = 0; burst < 400; burst++) {
    for (let i = 0; i < 100; i++) emit("text", burst * 100 + i);
    await new Promise((resolve) => setImmediate(resolve));
  }
  let [seen, lost] = [0, 0];
  while (seen + lost < 40_000) {
    const { value, done } = await reading.next();
    if (done === true) break;
    seen += value.events.length;
    lost = Number(value.dropped);
  }
  expect(lost).toBeGreaterThan(0);
  expect(seen + lost).toBe(40_000);
  stop.abort();
});

test("watchers of one session are bounded, and their places free once they leave", async () => {
  const { b, sessions, open, key } = await rig();
  const { session } = open("s");
  const watches: { over: Promise<void>; stop: AbortController }[] = [];
  for (let i = 0; i < 17; i++) {
    const stop = new AbortController();
    const over = (async () => {
      for await (const _ of sessions.watchSession({ session: key("s") }, { signal: stop.signal }));
    })();
    over.catch(() => undefined);
    watches.push({ over, stop });
  }
  const refused = await Promise.race(watches.map(({ over }) => refusalOf(over)));
  expect(refused.name).toBe("capacity_exhausted");
  for (const { stop } of watches) stop.abort();
  await Promise.allSettled(watches.map(({ over }) => over));
  await soon(() => session.events.subscribe({ kinds: ["error"] }) !== null);
  session.operator("end");
  await b.pass(100);
});

test("F-081 the plans of a session and of its last turn are told, whole and legal, without what callers are to say", async () => {
  const { b, sessions, open, key } = await rig();
  const { session, line } = open("s");
  await b.talk(line, 20, 20);
  await b.until(() => line.signals().includes("close/1"));
  const told = await sessions.getSession({ session: key("s") });
  expect(told.sessionPlan).toMatchObject({ session: key("s"), executionProfile: session.config.profile });
  expect(told.turnPlan).toMatchObject({ turnId: "t-1", authorityEpoch: 1n });
  expect(told.sessionPlan?.planId).toMatch(/^splan/);
  const kinds = (plan: typeof told.turnPlan | typeof told.sessionPlan) => plan?.nodes.map(({ kind }) => kind) ?? [];
  expect([...kinds(told.sessionPlan), ...kinds(told.turnPlan)].sort()).toEqual(
    session.config.graph.nodes.map(({ kind }) => kind).sort(),
  );
  expect(told.turnPlan?.providers.map(({ binding }) => binding?.candidates[0]?.provider)).toEqual(
    expect.arrayContaining([expect.stringMatching(/llm/)]),
  );
});
