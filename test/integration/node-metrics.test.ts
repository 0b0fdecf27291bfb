import { readFileSync } from "node:fs";
import type { SessionConfig } from "@rspp/kernel/session-config";
import { bench } from "@rspp/runtime/testing/bench";
import { expect, test } from "vitest";

const golden = JSON.parse(readFileSync(new URL("../replay/golden/text-nodes.b1-2.json", import.meta.url), "utf8")) as {
  config: SessionConfig;
};

test("F-010 F-068 every built-in node of a graph with all kinds of text nodes shows the standard metrics", async () => {
  const { graph } = golden.config;
  const b = bench();
  const { session, line } = b.open({ graph });
  await b.talk(line, 20, 300);
  await b.until(() => line.signals().some((signal) => signal.startsWith("close/")));
  await b.pass(20_000);
  session.operator("end");
  await session.ended;
  const { registry } = b.runtime.metrics;
  const metrics = registry.collect();
  const seriesOf = (name: string) => {
    const found = metrics.find(({ family }) => family.definition.name === name);
    return found?.kind === "histogram" ? found.family.series() : [];
  };
  const first = seriesOf("rspp_node_first_output_seconds");
  const runs = seriesOf("rspp_node_run_seconds");
  for (const { id, kind } of graph.nodes) {
    const measured = [...first, ...runs].filter(({ labels }) => labels.node === id && labels.kind === kind);
    expect(measured, `${id} (${kind})`).toHaveLength(2);
    // The caller's audio enters by itself, keys were not pressed.
    if (kind === "ingress" || kind === "dtmf") continue;
    expect(
      measured.some(({ value }) => value.count > 0),
      `${id} (${kind}) was timed`,
    ).toBe(true);
  }
});
