/** What a model says, behind the policy of the shipped guarded assistant: what is heard, and what stands on the timeline. */
import { readFileSync } from "node:fs";
import type { MonoNs } from "@rspp/base/brand";
import type { SignalEvent } from "@rspp/kernel/effect";
import { replayJournal } from "@rspp/kernel/replay";
import { compileSpec } from "@rspp/spec/compile-spec";
import { bundleSpec } from "@rspp/spec/module-library";
import { parseSpec } from "@rspp/spec/parse-spec";
import { expect, test } from "vitest";
import { sessionConfigOf } from "../../cli/src/pipeline.ts";
import { createRig, openCall, speech } from "./rig.ts";

const specs = new URL("../../pipelines/specs/", import.meta.url);
const moduleFile = "../modules/spoken-answer@2.yaml";
const module = { use: "spoken-answer@2", file: moduleFile, text: readFileSync(new URL(moduleFile, specs), "utf8") };
const shipped = readFileSync(new URL("guarded-assistant.yaml", specs), "utf8");

/** One call in which the model says `says`: what was sent of its turn, and what was recorded of it. */
async function guarded(sessionId: string, says: string) {
  const text = shipped.replace("local/flite", "sim/tts").replace("local/responder", "sim/llm");
  const spec = parseSpec(bundleSpec(text, [module]), "guarded.yaml");
  if (!spec.ok) throw new Error(JSON.stringify(spec.error));
  const compiled = compileSpec(spec.value);
  if (!compiled.ok) throw new Error(JSON.stringify(compiled.error));
  const { graph } = compiled.value;
  const settings: Record<string, object> = { stt: { transcripts: ["tell me a story"] }, llm: { text: says } };
  const nodes = graph.nodes.map((node) => {
    const candidates = node.candidates.map(({ settings: own }) => {
      return { provider: `sim/${node.kind}`, settings: { ...own, ...settings[node.kind] } };
    });
    return { ...node, candidates: candidates.slice(0, 1) };
  });
  const authority = { epoch: 1, incarnation: "test-1", deadlineNs: 1e18 as MonoNs };
  const pipeline = { ...compiled.value, graph: { ...graph, nodes } };
  const config = sessionConfigOf(pipeline, { sessionId, authority, seed: "same", recording: "L1" });
  const rig = createRig();
  const call = openCall(rig, config);
  const played = (turn: number) => call.line.deliveries().some((d) => d.turn === turn && d.phase === "completed");
  call.line.speak(speech(400));
  await rig.until(() => played(1));
  await rig.pass(1_000);
  call.line.end();
  await rig.until(() => rig.runtime.session(config) === null);
  expect(replayJournal(config, call.session.journal())).toMatchObject({ identical: true });
  const [run] = rig.spool.readSession(sessionId).runs;
  const signals = (run?.signals ?? []) as SignalEvent[];
  return {
    said: call.sent
      .flatMap((m) => (m.kind === "text" && m.turn === 1 && m.role === "assistant" ? [m.text] : []))
      .join(""),
    // Pauses between clauses aside: a clause ends where the policy decides.
    audio: call.sent
      .flatMap((m) => (m.kind === "media" && m.turn === 1 ? [...new Int16Array(m.bytes.slice().buffer)] : []))
      .filter((sample) => sample !== 0),
    commits: call.signals.filter((one) => one.startsWith("commit/")),
    audited: signals
      .filter(({ signal, reason }) => signal === "route_decision" && reason === "policy")
      .map(({ turn, fields }) => ({ turn, ...fields })),
    evidence: JSON.stringify(signals),
    told: JSON.stringify(call.sent.filter((m) => m.kind !== "media")),
  };
}

test("F-118 what a policy blocks or redacts is in no text and no audio that is heard, and the timeline names rule and action", async () => {
  const leak = "Write to jo@example.com about the lighthouse. Bye.";
  const redacted = await guarded("redacted", leak);
  expect(redacted.said).not.toMatch(/example|lighthouse/);
  expect(redacted.said).toContain("about the something. Bye.");
  expect(redacted.commits).toEqual(["commit/1"]);
  expect(redacted.audited).toEqual([
    { turn: 1, node: "policy", action: "mask", rule: "email", count: 1 },
    { turn: 1, node: "policy", action: "replace", rule: "words", count: 1 },
  ]);
  // The voice said the words that are left, sample by sample, and not what the model wrote.
  const plain = await guarded("plain", redacted.said);
  expect(plain.audited).toEqual([]);
  expect(redacted.audio.length).toBeGreaterThan(1_000);
  expect(redacted.audio).toEqual(plain.audio);

  const blocked = await guarded("blocked", "Surely. Your card is 4111 1111 1111 1111. It is valid until May.");
  expect(blocked.said).toContain("I cannot say that.");
  expect(blocked.said).not.toMatch(/4111|valid until/);
  expect(blocked.audited).toEqual([{ turn: 1, node: "policy", action: "block", rule: "card_number", count: 1 }]);
  expect(blocked.audio).toEqual((await guarded("sentence", blocked.said)).audio);
  for (const { evidence, told } of [redacted, blocked]) {
    expect(evidence).not.toMatch(/4111|example\.com|lighthouse/);
    expect(told).not.toMatch(/4111|example\.com|lighthouse/);
  }
});
