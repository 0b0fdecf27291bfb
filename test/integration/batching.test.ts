/** Calls of several sessions in one request to a provider, through runtime and gateway as shipped, in virtual time. */
import { replayJournal } from "@rspp/kernel/replay";
import type { SessionConfig } from "@rspp/kernel/session-config";
import { expect, test } from "vitest";
import { createRig, openCall, simConfig, speech } from "./rig.ts";

/** The assistant whose model takes several calls in one request. */
function batching(sessionId: string, tenantId: string): SessionConfig {
  const config = simConfig(sessionId, { stt: { transcripts: [`I am ${sessionId}`] } });
  const nodes = config.graph.nodes.map((node) =>
    node.kind === "llm" ? { ...node, candidates: [{ provider: "sim/batch", settings: {} }] } : node,
  );
  return { ...config, tenantId, graph: { ...config.graph, nodes } };
}

test("F-051 turns of sessions that speak at once share a request within the model's budget, by tenant; replay is identical", async () => {
  const rig = createRig();
  const of = { s1: "acme", s2: "acme", s3: "acme", s4: "globex" };
  const calls = Object.entries(of).map(([sessionId, tenant]) => openCall(rig, batching(sessionId, tenant)));
  for (const call of calls) call.line.speak(speech(400));
  // One of them leaves while the others' answer is being waited for.
  await rig.until(() => rig.batches.length === 2);
  calls[1]?.line.end();
  const answered = [0, 2, 3].flatMap((i) => calls[i] ?? []);
  const played = (call: (typeof calls)[number]) => call.line.deliveries().some((d) => d.phase === "completed");
  await rig.until(() => answered.every(played));
  expect(rig.batches).toEqual([["s1", "s2", "s3"], ["s4"]]);
  for (const call of answered) {
    const { sessionId } = call.session.config;
    const said = call.sent.flatMap((m) => (m.kind === "text" && m.role === "assistant" ? [m.text] : [])).join("");
    expect(said).toBe(`I am ${sessionId}`);
    expect(call.signals.filter((signal) => signal === "commit/1")).toEqual(["commit/1"]);
    expect(call.signals).not.toContain("provider_switch/1");
    call.line.end();
  }
  await rig.until(() => calls.every(({ session }) => rig.runtime.session(session.config) === null));
  for (const { session } of calls) {
    expect(replayJournal(session.config, session.journal())).toMatchObject({ identical: true });
  }
});
