/** What one session's defect, and the load of many, mean for the others of the runtime. Virtual time; counts of steps. */
import { invariant } from "@rspp/base/invariant";
import { describe, expect, test } from "vitest";
import { kernel } from "./kernel-port.ts";
import { bench } from "./testing/bench.ts";

describe("F-131 runtime_internal_error: isolate, abort", () => {
  test("F-131 an invariant that breaks in one session ends that one with its fault journaled; the others' turns commit, new ones are let in", async () => {
    const b = bench({
      kernel: {
        ...kernel,
        step(state, batch, fns) {
          const result = kernel.step(state, batch, fns);
          const planted = batch.inputs.some(({ body }) => body.type === "control" && body.signal === "stall");
          invariant(!planted, "planted", { here: true });
          return result;
        },
      },
    });
    const [ill, well, other] = ["ill", "well", "other"].map((sessionId) => b.open({ sessionId }));
    if (ill === undefined || well === undefined || other === undefined) throw new Error("three were opened");
    for (const { session } of [ill, well, other]) session.say("A rather long text that goes on playing. ".repeat(3));
    await b.until(() => [ill, well, other].every(({ line }) => line.played.length > 3));
    ill.line.control("stall", "x");
    await b.until(() => b.runtime.sessions().length === 2);
    expect(await ill.session.ended).toMatchObject({ reason: "kernel_fault", forced: true });
    expect(ill.session.journal().at(-1)?.fault).toContain("planted");
    expect(ill.line.sent.at(-1)).toMatchObject({ kind: "close" });
    const fresh = b.open({ sessionId: "fresh" });
    await b.talk(fresh.line, 10, 40);
    const committed = (one: typeof ill): boolean =>
      one.line.sent.some((m) => m.kind === "control" && m.signal === "commit" && m.turn === 1);
    await b.until(() => [well, other, fresh].every(committed));
    expect(committed(ill)).toBe(false);
    // Nothing of it is sent any more.
    expect(ill.line.sent.at(-1)).toMatchObject({ kind: "close" });
    expect(b.runtime.sessions().length).toBe(3);
  });
});

describe("NF-003 cancel under load", () => {
  const CALLS = 40;
  const CUT_EVERY = 5;
  /** Frames that wait in each: many steps of it. */
  const WAITING = 100;

  test("NF-003 forty sessions full of work: a cancel acts in its session's next step, and waits for one piece of each that stood before it at most", async () => {
    let steps = 0;
    const b = bench({
      kernel: {
        ...kernel,
        step(state, batch, fns) {
          steps += 1;
          return kernel.step(state, batch, fns);
        },
      },
    });
    const calls = Array.from({ length: CALLS }, (_, i) => b.open({ sessionId: `s-${i}`, tenantId: `t-${i % 7}` }));
    for (const { session } of calls) session.say("A rather long text that goes on playing for a while. ".repeat(8));
    await b.until(() => calls.every(({ line }) => line.played.length > 3));
    const waits: number[] = [];
    const worked: number[] = [];
    for (let at = 0; at < CALLS; at += CUT_EVERY) {
      const cut = calls[at];
      if (cut === undefined) break;
      const from = steps;
      let fenced = false;
      const send = cut.line.send.bind(cut.line);
      cut.line.send = (message) => {
        if (message.kind === "fence" && message.turn === 1 && !fenced) waits.push(steps - from);
        fenced ||= message.kind === "fence";
        send(message);
      };
      for (const { line } of calls) for (let n = 0; n < WAITING; n++) line.frame(false);
      const cancel = { kind: "control", epoch: 1, signal: "cancel", controlClass: "overtaking" } as const;
      cut.session.receive({ ...cancel, sequence: 2, turn: 1, reason: "user_cancel", lastMediaSequence: 0 });
      await b.until(() => fenced && calls.every((one) => one.session.stats().queued === 0));
      worked.push(steps - from);
    }
    expect(waits.length).toBe(CALLS / CUT_EVERY);
    // Sessions took their places in the order in which they got work.
    for (const [i, wait] of waits.entries()) expect(wait).toBeLessThanOrEqual(i * CUT_EVERY + 1);
    const p95 = waits.toSorted((a, z) => a - z)[Math.ceil(waits.length * 0.95) - 1];
    expect(p95).toBeLessThanOrEqual(CALLS);
    expect(Math.min(...worked)).toBeGreaterThan(4 * CALLS);
  });
});
