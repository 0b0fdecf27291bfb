/** Session ids are unique within a tenant: two tenants may use the same one, and neither learns of the other. */
import { describe, expect, test } from "vitest";
import { createSessionBook } from "./session-service-book.ts";
import { readSession } from "./spool/reader.ts";
import { bench } from "./testing/bench.ts";

const recording = { ceiling: "L2", policyId: "all", evidenceQuotaBytes: 262_144 } as const;

function twins() {
  const b = bench();
  const open = (tenantId: string) => b.open({ tenantId, sessionId: "call", recording });
  return { b, open, acme: open("acme"), other: open("other") };
}

describe("two tenants with the same session id", () => {
  test("both are live and heard alone; each is looked up and listed under its own tenant", async () => {
    const { b, open, acme, other } = twins();
    const book = createSessionBook(b.runtime, "i");
    const watch = other.session.events.subscribe({ kinds: ["audio", "text"] });
    await b.talk(acme.line, 20, 60);
    expect(acme.session.view().turns).toBeGreaterThan(0);
    expect(other.session.view().turns).toBe(0);
    expect(watch?.take(), "an observer is told of its own session alone").toBeUndefined();
    watch?.close();
    expect(b.runtime.session({ tenantId: "acme", sessionId: "call" })).toBe(acme.session);
    expect(b.runtime.session({ tenantId: "other", sessionId: "call" })).toBe(other.session);
    expect(b.runtime.session({ tenantId: "third", sessionId: "call" })).toBeNull();
    expect(book.find("other", "call")?.live).toBe(other.session);
    expect(book.list("acme")).toHaveLength(1);
    expect(() => open("acme"), "its own id is taken").toThrow(/open already/);
  });

  test("floor, reservation, stream and recording of one are not the other's", async () => {
    const { b, acme, other } = twins();
    await b.talk(acme.line, 40, 60);
    const [mine, theirs] = [acme.session.config, other.session.config];
    b.spool.raiseFloor(mine, 9);
    expect(b.spool.floor(mine)).toBe(9);
    expect(b.spool.floor(theirs)).toBe(1);
    expect(b.spool.reserved(theirs)).toBeGreaterThan(0);
    acme.session.operator("end");
    await acme.session.ended;
    expect(b.spool.reserved(mine)).toBe(0);
    expect(b.spool.reserved(theirs)).toBeGreaterThan(0);
    expect(b.runtime.session(theirs)).toBe(other.session);
    const stale = b.runtime.openSession({ config: { ...mine }, transport: acme.line });
    expect(stale).toMatchObject({ ok: false, error: { code: "stale_epoch" } });
    other.session.operator("end");
    await other.session.ended;
    const [one, two] = [readSession(b.store, "call", "acme"), readSession(b.store, "call", "other")];
    expect(one.problems).toEqual([]);
    expect(two.problems).toEqual([]);
    expect(one.runs[0]?.start).toMatchObject({ tenantId: "acme" });
    expect(two.runs[0]?.start).toMatchObject({ tenantId: "other" });
    expect(one.runs[0]?.entries.length).toBeGreaterThan((two.runs[0]?.entries.length ?? 0) + 20);
    expect(b.spool.verify().ok).toBe(true);
  });
});
