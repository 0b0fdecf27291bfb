/** The dialogue of a spec through the shipped runtime and the loopback line: who speaks when nobody asked, and who hangs up. */
import type { MonoNs } from "@rspp/base/brand";
import { replayJournal } from "@rspp/kernel/replay";
import type { SessionConfig } from "@rspp/kernel/session-config";
import { compileSpec } from "@rspp/spec/compile-spec";
import { parseSpec } from "@rspp/spec/parse-spec";
import { formatProblems } from "@rspp/spec/problem";
import { sessionTexts } from "@rspp/spec/session-texts";
import { createLoopbackAdapter } from "@rspp/transport-loopback/adapter";
import { expect, test } from "vitest";
import { sessionConfigOf } from "../../cli/src/pipeline.ts";
import { createRig, type Rig, speech } from "./rig.ts";

const spec = (policy: string): string => `schema: rspp/pipeline/v1
template: voice-assistant
providers:
  stt: {candidates: [sim/stt]}
  llm: {candidates: [sim/llm]}
  tts: {candidates: [sim/tts]}
policy:
${policy}`;

function open(rig: Rig, text: string, sessionId: string) {
  const parsed = parseSpec(text, "dialogue.yaml");
  if (!parsed.ok) throw new Error(formatProblems(parsed.error, text));
  const compiled = compileSpec(parsed.value);
  if (!compiled.ok) throw new Error(formatProblems(compiled.error, text));
  const { texts, greeting: _, ...told } = sessionTexts(compiled.value);
  const authority = { epoch: 1, incarnation: "test-1", deadlineNs: 1e18 as MonoNs };
  const config: SessionConfig = sessionConfigOf(compiled.value, { sessionId, authority, seed: sessionId, ...told });
  const said: string[] = [];
  const line = createLoopbackAdapter({ clock: rig.clock, epoch: 1 });
  const transport = {
    send(message: Parameters<typeof line.send>[0]): void {
      if (message.kind === "text" && message.role === "assistant") said.push(message.text.trim());
      line.send(message);
    },
  };
  const opened = rig.runtime.openSession({ config, transport, texts, keepJournal: true });
  if (!opened.ok) throw new Error(opened.error.detail);
  line.connect(opened.value);
  return { session: opened.value, said, line };
}

test("X-01 silence is prompted and then ends the call, and the replay is the run", async () => {
  const rig = createRig();
  const policy = `  silence: {after_ms: 2000, prompts: ["Are you there?"], max_prompts: 2, then: hang_up}
  hang_up: {say: "Goodbye."}
`;
  const { session, said } = open(rig, spec(policy), "silent");
  let over = "";
  void session.ended.then(({ reason, forced }) => {
    over = `${reason} ${forced}`;
  });
  await rig.until(() => over !== "", 60_000);
  expect(over).toBe("silence false");
  expect(said).toEqual(["Are you there?", "Are you there?", "Goodbye."]);
  expect(session.stats()).toMatchObject({ openTimers: 0, evidenceFailures: 0 });
  expect(replayJournal(session.config, session.journal())).toMatchObject({ identical: true });
});

test("X-01 a text by API may wait its turn, stand above interruption, and hang up once it is heard", async () => {
  const rig = createRig();
  const { session, said } = open(rig, spec("  max_call_ms: 600000\n"), "api");
  await rig.pass(50);
  expect(session.say("x".repeat(4_001))).toMatchObject({ ok: false, error: { code: "text_invalid" } });
  expect(session.say("One moment.", { uninterruptible: true })).toMatchObject({ ok: true });
  expect(session.say("Thank you for calling.", { second: "queue", hangUp: true })).toMatchObject({ ok: true });
  let over = "";
  void session.ended.then(({ reason }) => {
    over = reason;
  });
  await rig.until(() => over !== "", 60_000);
  expect(said).toEqual(["One moment.", "Thank you for calling."]);
  expect(over).toBe("agent_hangup");
  expect(session.say("Still there?")).toMatchObject({ ok: false, error: { code: "session_ended" } });
  expect(replayJournal(session.config, session.journal())).toMatchObject({ identical: true });
});

test("X-09 key terms reach the recogniser, spellings the voice; what is shown and replayed keeps the words", async () => {
  const rig = createRig();
  const words = `vocabulary:
  key_terms: [ACME]
  pronunciations: [{text: acme, say: ack me}, {text: please, ipa: pliːz}]
`;
  const transcripts = "  stt: {candidates: [{name: sim/stt, settings: {transcripts: [call acme please]}}]}";
  const text = `${spec("  max_call_ms: 600000\n").replace("  stt: {candidates: [sim/stt]}", transcripts)}${words}`;
  const { session, said, line } = open(rig, text, "words");
  line.speak(speech(400));
  await rig.until(() => said.length > 0);
  await rig.until(() => line.deliveries().some(({ phase }) => phase === "completed"));
  expect(rig.told.get("words/1")?.at(-1)).toEqual({ role: "user", text: "call ACME please" });
  expect(said.join(" ")).toContain("call ACME please");
  line.end();
  await rig.until(() => rig.runtime.session(session.config) === null);
  expect(replayJournal(session.config, session.journal())).toMatchObject({ identical: true });
});

test("X-04 what has left the history is summed up beside the call and told to the model from the next turn on", async () => {
  const rig = createRig();
  const text = spec("  history: {turns_max: 1, summary: {max_chars: 200, prompt: Sum it up.}}\n").replace(
    "  stt: {candidates: [sim/stt]}",
    "  stt: {candidates: [{name: sim/stt, settings: {transcripts: [what was first]}}]}",
  );
  const { session, line } = open(rig, text, "history");
  const heard = (turn: number) => () =>
    line.deliveries().some((found) => found.turn === turn && found.phase === "completed");
  await rig.pass(50);
  session.say("The first thing.");
  await rig.until(heard(1));
  session.say("The second thing.");
  await rig.until(heard(2));
  await rig.pass(3_000);
  expect(rig.told.get("history/0")).toEqual([
    { role: "system", text: "Sum it up." },
    { role: "assistant", text: expect.stringContaining("The first thing.") },
    { role: "user", text: "Sum it up." },
  ]);
  line.speak(speech(400));
  await rig.until(heard(3));
  const told = rig.told.get("history/3") ?? [];
  expect(told.map(({ role }) => role)).toEqual(["system", "user"]);
  expect(told[0]?.text.length).toBeGreaterThan(0);
  expect(told[1]?.text).toBe("what was first");
  line.end();
  await rig.until(() => rig.runtime.session(session.config) === null);
  expect(session.stats()).toMatchObject({ openInvocations: 0, openTimers: 0 });
  expect(replayJournal(session.config, session.journal())).toMatchObject({ identical: true });
});
