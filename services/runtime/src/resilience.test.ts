/** Failure through the whole shell: what the caller is told, what is kept, and that a replay is equal to the run. */
import type { GraphDefinition } from "@rspp/kernel/graph";
import { replayJournal } from "@rspp/kernel/replay";
import { assistantGraph, node } from "@rspp/kernel/testing/harness";
import { expect, test } from "vitest";
import { type Bench, bench } from "./testing/bench.ts";

/** A bench of which one modality of provider fails as soon as it is asked. */
function broken(modality: "llm" | "tts", kind: "error" | "disconnect" = "error"): Bench {
  const b = bench();
  const open = b.providers.open.bind(b.providers);
  b.providers.open = (request, sink) => {
    if (request.modality !== modality) return open(request, sink);
    let told = false;
    const fail = (): void => {
      if (told) return;
      told = true;
      sink.outcome({ kind, detail: "down" });
    };
    return { push: fail, finish: fail, cancel: fail };
  };
  return b;
}

function graph(more: Partial<GraphDefinition>, fallback = false): GraphDefinition {
  const plain = assistantGraph();
  if (!fallback) return { ...plain, ...more };
  const nodes = plain.nodes.map((n) => (n.id === "llm" ? { ...n, fallback: "sorry" } : n));
  return { ...plain, ...more, nodes: [...nodes, node("sorry", "canned", "turn", { text: "Not now, I am afraid." })] };
}

async function finished(b: Bench, session: ReturnType<Bench["open"]>["session"]): Promise<void> {
  session.operator("end");
  await session.ended;
  expect(replayJournal(session.config, session.journal()).identical).toBe(true);
  await b.pass(100);
}

test("F-133 the model is down: the canned reply is heard, and the caller's client is told of the fallback", async () => {
  const b = broken("llm");
  const { session, line } = b.open({ graph: graph({}, true) });
  await b.talk(line, 20, 20);
  await b.until(() => line.played.length > 5);
  expect(line.sent.some((m) => m.kind === "control" && m.signal === "fallback")).toBe(true);
  expect(line.sent.some((m) => m.kind === "text" && m.text === "Not now, I am afraid.")).toBe(true);
  await finished(b, session);
});

test.each([0, 2])("F-065 attempts after the first are counted by provider and kind: %i", async (retries) => {
  const b = broken("llm", "disconnect");
  const held = graph({}, true);
  const nodes = held.nodes.map((n) => (n.kind === "llm" ? { ...n, retries } : n));
  const { session, line } = b.open({ graph: { ...held, nodes } });
  await b.talk(line, 20, 20);
  await b.until(() => line.played.length > 5);
  await finished(b, session);
  const series = b.runtime.metrics.of.providerRetries.series();
  const counted = series.map(({ labels, value }) => [labels.modality, value.value]);
  expect(counted).toEqual(retries === 0 ? [] : [["llm", retries]]);
});

test("F-137 the voice is down: the client gets the reply as text and is told that it is degraded", async () => {
  const b = broken("tts");
  const { session, line } = b.open({ graph: graph({ degrade: { postures: [], calmMs: 0, textOnly: true } }) });
  await b.talk(line, 20, 20);
  const degraded = (): boolean => line.sent.some((m) => m.kind === "control" && m.signal === "degraded");
  await b.until(degraded);
  await b.until(() => line.sent.some((m) => m.kind === "control" && m.signal === "commit"));
  const shown = line.sent.flatMap((m) => (m.kind === "text" && m.role === "assistant" ? [m.text] : []));
  expect(shown.join("")).toContain("Hi there");
  expect(line.sent.find((m) => m.kind === "control" && m.signal === "degraded")).toMatchObject({
    reason: "text_only",
    fields: { capability: "voice" },
  });
  await finished(b, session);
});

test("F-132 a dead letter is on the timeline of the session", async () => {
  const b = bench();
  const { session, line } = b.open({ graph: graph({ deadLetters: { max: 4 } }) });
  await b.talk(line, 2, 2);
  line.control("playback_lost");
  await b.pass(200);
  await finished(b, session);
  const kept = b.spool.readSession(session.id);
  expect(JSON.stringify(kept)).toContain("dead_letter/v1");
});
