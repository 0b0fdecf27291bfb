/** What a spec says of the buffers of its edges: resolved with sources, refused where it makes no sense, and in force. */
import { replayJournal } from "@rspp/kernel/replay";
import { KernelHarness, testConfig } from "@rspp/kernel/testing/harness";
import { records, say } from "@rspp/kernel/testing/scenes";
import { describe, expect, test } from "vitest";
import { explainRows } from "./explain-spec.ts";
import { compiled, edited, problemsOf, readSpecFile, small } from "./testing.ts";

/** `small` with a buffer on one of its edges. */
function withBuffer(buffer: string, edge = "caller.audio -> vad.audio", spec = small): string {
  const [from, to] = edge.split(" -> ");
  return edited(spec, `  - ${edge}\n`, `  - {from: ${from}, to: ${to}, id: e, buffer: ${buffer}}\n`);
}
const bufferOf = (text: string) => compiled(text).graph.edges.find(({ id }) => id === "e")?.buffer;

describe("F-143 F-144 F-145 F-146 F-147 what a buffer may say", () => {
  test("F-143 each bound with its source, spec or profile, in the resolved pipeline and its plan", () => {
    const text = withBuffer("{max_items: 7, max_latency_ms: 250}");
    const rows = explainRows(compiled(text)).filter(({ path }) => path.startsWith("edges.e.buffer."));
    const profile = "defaulting_source=execution_profile/simple/v1";
    expect(Object.fromEntries(rows.map(({ path, source }) => [path.split(".").at(-1), source]))).toEqual({
      maxItems: "spec",
      maxBytes: profile,
      maxQueueMs: profile,
      strategy: profile,
      maxBlockMs: profile,
      maxLatencyMs: "spec",
    });
    const { graph, provenance } = compiled(text);
    const h = new KernelHarness(testConfig(graph, { provenance }));
    h.connect();
    h.feed(say(h, "Hello."));
    const [plan] = records(h, "plan") as unknown as { plan: { provenance: Record<string, string>; edges: object[] } }[];
    expect(plan?.plan.provenance["edges.e.buffer.maxLatencyMs"]).toBe("spec");
    expect(plan?.plan.provenance["edges.e.buffer.maxBytes"]).toBe(profile);
    expect(plan?.plan.edges.find((edge) => (edge as { edge: string }).edge === "e")).toMatchObject({
      maxItems: 7,
      more: { maxLatencyMs: 250 },
    });
    // The other edges say nothing of it.
    expect(plan?.plan.edges.filter((edge) => "more" in edge)).toHaveLength(1);
  });

  test("all of it, as the kernel gets it", () => {
    const text = withBuffer(
      "{strategy: sample, sample_every: 3, flow: hybrid, credits: 8, watermark: {high: 0.8, low: 0.3, action: degrade}, " +
        "lanes: {control: block, telemetry: {strategy: sample, sample_every: 10}}, sync: {domain: mic, policy: atomic_drop}}",
    );
    expect(bufferOf(text)).toMatchObject({
      strategy: "sample",
      sampleEvery: 3,
      flow: "hybrid",
      credits: 8,
      watermark: { high: 0.8, low: 0.3, action: "degrade" },
      lanes: { control: "block", telemetry: { strategy: "sample", maxItems: 64, sampleEvery: 10 } },
      sync: { group: "mic", policy: "atomic_drop", scope: "edge_local" },
    });
    expect(bufferOf(withBuffer("{strategy: coalesce, coalesce_ms: 200}", "stt.text -> ep.text"))).toMatchObject({
      coalesceMs: 200,
    });
    expect(bufferOf(withBuffer("{watermark: {high: 0.5, low: 0.1, action: block}}"))?.maxBlockMs).toBe(2_000);
  });

  test("a spec that says nothing of all this compiles to the very same graph as before", () => {
    const keys = new Set(compiled(small).graph.edges.flatMap((edge) => Object.keys(edge.buffer)));
    expect([...keys].sort()).toEqual(["maxBlockMs", "maxBytes", "maxItems", "maxQueueMs", "source", "strategy"]);
  });

  test.each([
    ["{strategy: sample}", "strategy", /needs sample_every/],
    ["{sample_every: 3}", "sample_every", /without strategy: sample/],
    ["{coalesce_ms: 100}", "coalesce_ms", /without strategy: coalesce/],
    ["{strategy: coalesce, coalesce_ms: 100}", "strategy", /only text can be coalesced/],
    ["{flow: credit}", "flow", /needs credits/],
    ["{credits: 4}", "credits", /without flow/],
    ["{flow: credit, credits: 9, max_items: 4}", "credits", /exceed max_items/],
    ["{watermark: {high: 0.4, low: 0.6, action: drop}}", "watermark.low", /not below high/],
    ["{watermark: {high: 0.8, low: 0.2, action: merge}}", "watermark.action", /only text can be merged/],
    ["{watermark: {high: 0.8, low: 0.2, action: fallback}}", "watermark.action", /no fallback/],
    ["{strategy: drop_newest, max_block_ms: 100}", "max_block_ms", /no meaning/],
    ["{lanes: {telemetry: {strategy: sample}}}", "lanes.telemetry", /needs sample_every/],
    ["{sync: {domain: mic, policy: atomic_drop, scope: plan_wide}}", "sync", /this edge alone/],
  ])("%s is refused at its field", (buffer, field, message) => {
    expect(problemsOf(withBuffer(buffer))).toEqual([
      expect.objectContaining({ path: `edges[0].buffer.${field}`, message: expect.stringMatching(message) }),
    ]);
  });

  test("F-146 a domain goes by one thing, with one policy", () => {
    const sync = (policy: string) => `{sync: {domain: d, policy: ${policy}, scope: plan_wide}}`;
    const one = withBuffer(sync("atomic_drop"));
    const other = one.replace(
      "  - caller.audio -> stt.audio\n",
      `  - {from: caller.audio, to: stt.audio, buffer: ${sync("no_sync")}}\n`,
    );
    expect(problemsOf(other).map(({ path, message }) => [path, message])).toEqual([
      ["edges[1].buffer.sync", "domain d has policy atomic_drop and scope plan_wide elsewhere"],
    ]);
    const mixed = one.replace(
      "  - llm.text -> segmenter.text\n",
      `  - {from: llm.text, to: segmenter.text, buffer: ${sync("atomic_drop")}}\n`,
    );
    expect(problemsOf(mixed).map(({ message }) => message)).toEqual([
      "domain d goes by media time, this edge by clause",
    ]);
  });

  test("F-143 a reply is not cut by a bound on its wait", () => {
    for (const buffer of ["{max_latency_ms: 100}", "{preset: latency_first}"])
      expect(problemsOf(withBuffer(buffer, "tts.audio -> output.audio")).map(({ message }) => message)).toEqual([
        expect.stringContaining("would cut words out of it"),
      ]);
  });
});

describe("F-054 audio buffered latency-first or accuracy-first", () => {
  /** Two seconds of frames into a detector that needs 30 ms for each of 20 ms: waits of what it was asked, and what was lost. */
  function overload(preset: string): { maxWaitMs: number; lost: number; told: number[] } {
    const { graph } = compiled(withBuffer(`{preset: ${preset}}`));
    const h = new KernelHarness(testConfig(graph));
    h.connect();
    const waits: number[] = [];
    let freeAtMs = 0;
    for (let ms = 10; ms <= 4_000; ms += 10) {
      h.advance(10);
      const effects = ms % 20 === 0 && ms <= 2_000 ? h.feed(h.frame()) : [];
      const command = Object.keys(h.state.commands)[0];
      if (effects.some((effect) => effect.type === "node_event")) freeAtMs = ms + 30;
      if (command === undefined || ms < freeAtMs) continue;
      freeAtMs = ms + 30;
      for (const effect of h.feed({ type: "node_done", command: Number(command) }))
        if (effect.type === "node_event") waits.push(ms - (effect.mediaUs / 1_000 + 20));
    }
    const told = h.log.flatMap(({ effect }) =>
      effect.type === "telemetry" && effect.name === "edge_wait_ms" ? [effect.value] : [],
    );
    expect(replayJournal(h.config, h.journal).identical).toBe(true);
    return { maxWaitMs: Math.max(...waits), lost: h.state.run.edges[0]?.evicted ?? 0, told };
  }

  test("F-054 latency_first loses frames and stays within 200 ms; accuracy_first loses none and waits; metrics say so", () => {
    const latency = overload("latency_first");
    const accuracy = overload("accuracy_first");
    expect(latency.maxWaitMs).toBeLessThanOrEqual(200);
    expect(latency.lost).toBeGreaterThan(20);
    expect(accuracy.lost).toBe(0);
    expect(accuracy.maxWaitMs).toBeGreaterThan(800);
    expect(Math.max(...latency.told)).toBeLessThanOrEqual(200);
    expect(Math.max(...accuracy.told)).toBeGreaterThan(500);
  });

  test("F-054 values of a preset have it as their source; the author's own are laid over it", () => {
    const { provenance, graph } = compiled(withBuffer("{preset: latency_first, max_items: 5}"));
    expect(graph.edges[0]?.buffer).toMatchObject({
      preset: "latency_first",
      strategy: "drop_oldest",
      maxItems: 5,
      maxQueueMs: 200,
      maxLatencyMs: 200,
    });
    expect(provenance["edges.e.buffer.maxItems"]).toBe("spec");
    expect(provenance["edges.e.buffer.maxQueueMs"]).toBe("preset/latency_first/v1");
    expect(provenance["edges.e.buffer.maxLatencyMs"]).toBe("preset/latency_first/v1");
    expect(provenance["edges.e.buffer.maxBytes"]).toBe("defaulting_source=execution_profile/simple/v1");
    expect(problemsOf(withBuffer("{preset: latency_first}", "llm.text -> segmenter.text"))).toMatchObject([
      { path: "edges[6].buffer.preset" },
    ]);
  });
});

test("F-053 F-054 the interpreter's pipeline says how it buffers", () => {
  const { graph } = compiled(readSpecFile("interpreter.yaml"));
  const buffers = graph.edges.map(({ buffer }) => buffer);
  expect(buffers.some(({ preset }) => preset !== undefined)).toBe(true);
  expect(buffers.some(({ coalesceMs }) => coalesceMs !== undefined)).toBe(true);
});
