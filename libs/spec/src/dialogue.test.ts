import { describe, expect, test } from "vitest";
import { explainRows } from "./explain-spec.ts";
import { sessionConfigOf } from "./session-config.ts";
import { sessionTexts } from "./session-texts.ts";
import { compiled, problemsOf, small } from "./testing.ts";

const dialogue = `${small}policy:
  silence: {after_ms: 8000, prompts: ["Are you there?", "Hello?"], max_prompts: 3, then: hang_up}
  history: {turns_max: 8, tokens_max: 2000, summary: {max_chars: 400}}
  min_speech_ms: 200
  back_channel: {words: [mhm, yeah], max_ms: 600}
  echo_guard: true
  hang_up: {say: "Goodbye.", phrases: ["have a nice day"], marker: "[hang_up]", key: "*"}
  max_call_ms: 600000
  max_call_warning: {before_ms: 30000, say: "Half a minute left."}
`;

describe("X-01 the dialogue in a spec", () => {
  test("X-01 X-04 is compiled to policy and sentences, each with its source", () => {
    const pipeline = compiled(dialogue);
    expect(pipeline.policy).toMatchObject({
      silence: { afterMs: 8_000, prompts: 2, maxPrompts: 3, andThen: "hang_up" },
      history: {
        estimator: "chars/4@1",
        turnsMax: 8,
        tokensMax: 2_000,
        summary: { node: "llm", charsMax: 400 },
      },
      minSpeechMs: 200,
      backChannel: { words: ["mhm", "yeah"], maxMs: 600 },
      echoGuard: true,
      hangUp: { phrases: ["have a nice day"], marker: "[hang_up]", key: "*" },
      maxCallMs: 600_000,
      maxCallWarningMs: 30_000,
    });
    expect(pipeline.spoken).toEqual({
      "history.summary": expect.stringContaining("Sum up"),
      "silence[0]": "Are you there?",
      "silence[1]": "Hello?",
      hang_up: "Goodbye.",
      "max_call.warning": "Half a minute left.",
    });
    const rows = explainRows(pipeline).filter(({ path }) => /^(?:policy.(?:silence|hangUp|maxCall)|spoken)/.test(path));
    expect(rows).toHaveLength(9);
    expect(new Set(rows.map(({ source }) => source))).toEqual(new Set(["spec", "derived"]));
  });

  test("X-01 a spec without it is compiled to what it was: no field, the same fingerprint", () => {
    const plain = compiled(small);
    expect(Object.keys(plain.policy)).toHaveLength(9);
    expect("spoken" in plain).toBe(false);
    expect(plain.fingerprint).not.toBe(compiled(dialogue).fingerprint);
    const other = compiled(dialogue.replace("Half a minute", "One minute"));
    expect(other.fingerprint).not.toBe(compiled(dialogue).fingerprint);
  });

  test("X-01 a session gets the sentences as payloads, the system prompt first", () => {
    const pipeline = compiled(`${dialogue}conversation: {system_prompt: "Be brief.", greeting: "Hi."}\n`);
    const { texts, greeting, ...told } = sessionTexts(pipeline);
    expect(greeting).toBe("Hi.");
    expect(texts).toMatchObject({ 1: "Be brief.", 2: "Are you there?", 6: "Half a minute left." });
    const authority = { epoch: 1, incarnation: "s", deadlineNs: 1 as never };
    const config = sessionConfigOf(pipeline, { sessionId: "s", seed: "s", authority, ...told });
    expect(config.spoken?.hang_up).toEqual([{ ref: 5, from: 0, to: 8 }]);
    expect(config.systemPrompt).toEqual([{ ref: 1, from: 0, to: 9 }]);
  });

  test.each([
    ["  max_call_warning: {before_ms: 30000, say: Soon.}\n", "policy.max_call_warning", "missing_field"],
    [
      "  max_call_ms: 20000\n  max_call_warning: {before_ms: 30000, say: Soon.}\n",
      "policy.max_call_warning.before_ms",
      "out_of_range",
    ],
    ["  silence: {after_ms: 1, prompts: [Hello?]}\n", "policy.silence.after_ms", "out_of_range"],
    ["  silence: {after_ms: 1000, prompts: []}\n", "policy.silence.prompts", "too_many"],
    ["  hang_up: {marker: good bye}\n", "policy.hang_up.marker", "bad_format"],
    ["  hang_up: {key: '5'}\n", "policy.hang_up.key", "not_allowed"],
    ["  barge_in: false\n  echo_guard: true\n", "policy.echo_guard", "not_allowed"],
    ["  history: {summary: {node: tts}}\n", "policy.history.summary.node", "unknown_node"],
    [
      "  hang_up: {phrases: ['bye {{name}}']}\nvariables: {name: {type: string}}\n",
      "policy.hang_up.phrases",
      "not_allowed",
    ],
    ["  back_channel: {words: []}\n", "policy.back_channel.words", "too_many"],
  ])("X-01 what cannot hold is refused at its field: %j", (lines, path, code) => {
    expect(problemsOf(`${small}policy:\n${lines}`)).toMatchObject([{ path, code }]);
  });

  test("X-01 the key that ends a number cannot end the call; sentences need a voice", () => {
    const nodes = small.replace("  - {id: ep,", "  - {id: keys, kind: dtmf}\n  - {id: ep,");
    const keyed = nodes.replace("  - ep.utterance ->", "  - keys.utterance -> context.utterance\n  - ep.utterance ->");
    expect(problemsOf(`${keyed}policy:\n  hang_up: {key: "#"}\n`)).toMatchObject([{ path: "policy.hang_up.key" }]);
    expect(compiled(`${keyed}policy:\n  hang_up: {key: "*"}\n`).policy.hangUp?.key).toBe("*");
    const echo = `schema: rspp/pipeline/v1
name: echo
version: 1
nodes:
  - {id: caller, kind: ingress}
  - {id: output, kind: output, scope: session}
edges:
  - caller.audio -> output.audio
policy:
  silence: {after_ms: 1000, prompts: [Hello?]}
`;
    expect(problemsOf(echo)).toMatchObject([{ path: "policy.silence", code: "not_allowed" }]);
  });
});

test("F-039 F-042 commit point and push to talk without silence are settings of their nodes, checked at lint", () => {
  const settings = (node: string, more: string) => small.replace(node, more);
  const output = settings(
    "{id: output, kind: output}",
    "{id: output, kind: output, settings: {commit_point: handed_out}}",
  );
  expect(compiled(output).graph.nodes.at(-1)?.settings).toEqual({ commit_point: "handed_out" });
  expect(compiled(small).graph.nodes.at(-1)?.settings).toEqual({});
  const talk = (own: string) =>
    settings("{id: ep, kind: endpointing}", `{id: ep, kind: endpointing, settings: {${own}}}`);
  const held = compiled(talk("mode: push_to_talk, silence_ends: false")).graph.nodes.find(({ id }) => id === "ep");
  expect(held?.settings).toMatchObject({ mode: "push_to_talk", silence_ends: false });
  expect(problemsOf(talk("silence_ends: false"))).toMatchObject([{ path: "nodes[3].settings.silence_ends" }]);
});
