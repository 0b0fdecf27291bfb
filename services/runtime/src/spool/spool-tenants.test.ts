/** Recordings of builds that told sessions apart by their id alone: the frame without the tenant flag. */
import { describe, expect, test } from "vitest";
import { createVirtualClock } from "../clock/virtual-clock.ts";
import { decodeFrame, encodeFrame, GENESIS } from "./frame.ts";
import { createMemoryStore } from "./memory-store.ts";
import { listSessions, readSession } from "./reader.ts";
import { createSpool } from "./spool.ts";

const wallMs = 1_700_000_000_000;

/** A segment as it was written before records said their tenant. */
function oldStore(records: readonly { session: string; kind: "session" | "plan" | "session_end"; content: unknown }[]) {
  const store = createMemoryStore();
  const heads = new Map<string, { seq: number; link: Uint8Array }>();
  for (const { session, kind, content } of records) {
    const { seq, link: prev } = heads.get(session) ?? { seq: 0, link: GENESIS };
    const payload = Buffer.from(JSON.stringify(content));
    const { frame, link } = encodeFrame({
      kind,
      tenantId: "",
      sessionId: session,
      epoch: 4,
      seq: seq + 1,
      wallMs,
      prev,
      payload,
    });
    heads.set(session, { seq: seq + 1, link });
    expect(store.append("0000000001", frame)).toBeNull();
  }
  return store;
}

const start = (tenantId: string) => ({
  tenantId,
  sessionId: "call",
  epoch: 4,
  pipeline: "p@1",
  level: "L1",
  config: null,
});

describe("a spool of an earlier build", () => {
  test("the form of its records is unchanged: no flag, the session's id alone", () => {
    const payload = Buffer.from("{}");
    const { frame } = encodeFrame({
      kind: "plan",
      tenantId: "",
      sessionId: "call",
      epoch: 1,
      seq: 1,
      wallMs,
      prev: GENESIS,
      payload,
    });
    expect(frame[17]).toBe(0);
    expect(frame.subarray(16 + 92, 16 + 92 + 4).toString()).toBe("call");
    const now = encodeFrame({
      kind: "plan",
      tenantId: "acmé",
      sessionId: "call",
      epoch: 1,
      seq: 1,
      wallMs,
      prev: GENESIS,
      payload,
    });
    expect(now.frame[17]).toBe(2);
    expect(decodeFrame(now.frame, 0)).toMatchObject({ status: "ok", record: { tenantId: "acmé", sessionId: "call" } });
  });

  test("is read whole; its session record tells the tenant, whose floor holds and for nobody else", () => {
    const store = oldStore([
      { session: "call", kind: "session", content: start("acme") },
      { session: "call", kind: "plan", content: { kind: "plan" } },
      { session: "call", kind: "session_end", content: {} },
    ]);
    expect(listSessions(store)).toMatchObject([{ tenantId: "acme", sessionId: "call", records: 3 }]);
    expect(readSession(store, "call", "acme").runs).toHaveLength(1);
    expect(readSession(store, "call", "other").runs).toEqual([]);
    const spool = createSpool({ store, clock: createVirtualClock({ wallOriginMs: wallMs }) });
    expect(spool.recovery).toMatchObject({ records: 3, problems: [] });
    expect(spool.floor({ tenantId: "acme", sessionId: "call" })).toBe(4);
    expect(spool.floor({ tenantId: "other", sessionId: "call" })).toBe(0);
    const old = { tenantId: "", sessionId: "call", epoch: 4 };
    expect(spool.marks(old)).toEqual({ appended: 3, synced: 3, exported: 0 });
    expect(spool.predecessor({ tenantId: "acme", sessionId: "call", epoch: 5 })).toMatchObject(old);
    expect(spool.predecessor({ tenantId: "other", sessionId: "call", epoch: 5 })).toBeNull();
    spool.markExported(old, 3, "note");
    const next = { tenantId: "acme", sessionId: "call", epoch: 5 };
    expect(spool.append(next, "session", JSON.stringify(start("acme"))).ok).toBe(true);
    expect(spool.append({ ...next, tenantId: "other" }, "session", JSON.stringify(start("other"))).ok).toBe(true);
    const again = createSpool({ store, clock: createVirtualClock({ wallOriginMs: wallMs }) });
    expect(again.recovery.problems).toEqual([]);
    expect(again.exportNote(old)).toBe("note");
    expect(again.floor(next)).toBe(5);
    expect(readSession(store, "call", "acme").runs).toHaveLength(2);
    expect(readSession(store, "call", "other").runs).toHaveLength(1);
    expect(again.verify().ok).toBe(true);
  });

  test("a session whose tenant is not recorded any longer keeps its floor for every tenant", () => {
    const store = oldStore([{ session: "call", kind: "plan", content: { kind: "plan" } }]);
    const spool = createSpool({ store, clock: createVirtualClock({ wallOriginMs: wallMs }) });
    expect(spool.floor({ tenantId: "acme", sessionId: "call" })).toBe(4);
    expect(spool.floor({ tenantId: "acme", sessionId: "beside" })).toBe(0);
    expect(spool.append({ tenantId: "acme", sessionId: "call", epoch: 3 }, "plan", "{}")).toMatchObject({
      code: "stale_epoch",
    });
  });
});
