import { expect, test } from "vitest";
import { assistantGraph, KernelHarness, POLICY, testConfig } from "./testing/harness.ts";

for (const flow of ["credit", "hybrid"] as const)
  test(`F-145 ${flow}: an output edge that is emptied after the commit grants nothing and calls for nothing any more`, () => {
    const graph = assistantGraph();
    const edges = graph.edges.map((edge) =>
      edge.id === "e9" ? { ...edge, buffer: { ...edge.buffer, flow, credits: 8, maxItems: 200, maxBlockMs: 0 } } : edge,
    );
    const h = new KernelHarness(testConfig({ ...graph, edges }, { policy: { ...POLICY, bargeIn: false } }));
    h.connect();
    h.utter("tell me a story");
    h.reply("Once upon a time there was a fox.", 40);
    h.deliver(1, "accepted", 0);
    h.deliver(1, "started", 0);
    h.advance(8_000);
    const signals = h.signals();
    const commit = signals.indexOf("commit#1");
    expect(commit).toBeGreaterThan(0);
    expect(signals.slice(0, commit).filter((signal) => signal.startsWith("credit_grant#1")).length).toBeGreaterThan(0);
    expect(signals.slice(commit).filter((signal) => /^(credit_grant|flow_)/.test(signal))).toEqual([]);
  });
