import { describe, expect, test } from "vitest";
import type { NodeDefinition } from "./graph.ts";
import { checkReplay } from "./testing/checked-replay.ts";
import { EAR_EDGES, EAR_NODES, graphOf, MODEL_NODES, VOICE_EDGES, VOICE_NODES } from "./testing/graphs.ts";
import { KernelHarness, node, testConfig } from "./testing/harness.ts";
import { records, sealed, told } from "./testing/scenes.ts";

const SORRY = "I cannot answer that now.";
const settings = { text: SORRY, replies: ["overload: I am busy just now. Please ask again."] };
const EDGES = [
  ...EAR_EDGES,
  "stt.text -> endpointing.text",
  "endpointing.utterance -> context.utterance",
  "context.messages -> llm.messages",
  "llm.text -> segmenter.text",
  ...VOICE_EDGES,
];

function open(nodes: readonly NodeDefinition[], edges: readonly string[] = EDGES): KernelHarness {
  const h = new KernelHarness(testConfig(graphOf(nodes, edges)));
  h.connect();
  return h;
}

function with_(primary: NodeDefinition, ...more: NodeDefinition[]): NodeDefinition[] {
  const plain = [...EAR_NODES, ...MODEL_NODES, ...VOICE_NODES].map((n) => (n.id === primary.id ? primary : n));
  return [...plain, ...more];
}

function canned(llm: string[] = ["sim/a", "sim/b"]): KernelHarness {
  const h = open(
    with_({ ...node("llm", "llm", "turn", {}, llm), fallback: "sorry" }, node("sorry", "canned", "turn", settings)),
  );
  h.utter("tell me a story");
  return h;
}

function spoken(h: KernelHarness): string {
  return h.log.flatMap(({ effect }) => (effect.type === "provider_push_text" ? [h.text(effect.spans)] : [])).join("|");
}

describe("F-007 F-133 a fallback node", () => {
  test("F-133 all candidates of the model fail: the canned reply is spoken, with the original error told; the turn commits", () => {
    const h = canned();
    h.feed(h.outcome(h.open("llm"), "error"));
    expect(h.signals("fallback")).toEqual([]);
    const effects = h.advance(1_000);
    expect(told(effects)).toEqual(["provider_error#1(timeout)", "fallback#1(timeout)"]);
    const signal = effects.find((effect) => effect.type === "signal" && effect.event.signal === "fallback");
    expect(signal).toMatchObject({
      egress: true,
      event: { fields: { node: "llm", to: "sorry", provider: "sim/b", invocation: expect.stringMatching(/^inv_1_/) } },
    });
    expect(spoken(h)).toBe(SORRY);
    h.speakPending();
    expect(h.signals("commit")).toEqual(["commit#1"]);
    expect(sealed(h, 1).manifest.invocations.map((inv) => `${inv.provider} ${inv.outcome}`)).toEqual([
      "sim/stt success",
      "sim/a error",
      "sim/b timeout",
      "sim/tts success",
    ]);
    checkReplay(h);
  });

  test("without one the same failure ends the turn (T10)", () => {
    const h = open(with_(node("llm", "llm", "turn", {}, ["sim/a"])));
    h.utter("tell me a story");
    expect(told(h.feed(h.outcome(h.open("llm"), "error")))).toEqual([
      "provider_error#1(error)",
      "abort#1(provider_failure)",
      "close#1",
    ]);
  });

  test("the reason picks what is said; the next turn begins with the model again", () => {
    const h = canned(["sim/a"]);
    const llm = h.open("llm");
    h.feed({ type: "provider_outcome", invocation: llm, outcome: "overload", detail: "", usage: null });
    expect(spoken(h)).toBe("I am busy just now. |Please ask again.");
    h.speakPending();
    h.deliver(1, "accepted", 0);
    h.deliver(1, "started", 0);
    h.advance(3_000);
    h.deliver(1, "completed", h.state.turns[0]?.output.sentUs ?? 0);
    h.utter("and now");
    h.reply("A fox lived in a wood.");
    expect(h.signals("commit")).toEqual(["commit#1", "commit#2"]);
    expect(h.signals("fallback")).toHaveLength(1);
    checkReplay(h);
  });

  test("a reply that broke off in the middle is ended politely", () => {
    const h = canned(["sim/a"]);
    h.feed(h.textChunk(h.open("llm"), "Once upon a time there was a fox. It"));
    h.feed(h.outcome(h.open("llm"), "error"));
    expect(h.signals("abort")).toEqual([]);
    expect(spoken(h)).toBe(`Once upon a time there was a fox. |It ${SORRY}`);
    h.speakPending();
    expect(h.signals("commit")).toEqual(["commit#1"]);
    checkReplay(h);
  });

  test("F-047 another model is asked the same; where it fails, too, T10 ends the turn once", () => {
    const nodes = with_(
      { ...node("llm", "llm", "turn", {}, ["sim/a"]), fallback: "small" },
      node("small", "llm", "turn", {}, ["sim/small", "sim/tiny"]),
    );
    const h = open(nodes);
    h.utter("tell me a story");
    const asked = h.feed(h.outcome(h.open("llm"), "error"));
    const pushed = asked.find((effect) => effect.type === "provider_push_messages");
    expect(pushed?.type === "provider_push_messages" && h.text(pushed.messages.at(-1)?.spans ?? [])).toBe(
      "tell me a story",
    );
    expect(asked).toContainEqual(
      expect.objectContaining({ type: "provider_open", node: "small", provider: "sim/small" }),
    );
    h.feed(h.outcome(h.open("llm"), "error"));
    expect(h.signals("abort")).toEqual([]);
    h.feed(h.outcome(h.open("llm"), "error"));
    expect(h.signals("abort")).toEqual(["abort#1(provider_failure)"]);
    expect(h.signals("close")).toHaveLength(1);
    checkReplay(h);
  });

  test("F-133 another voice speaks what the first had not, clauses that come later included", () => {
    const nodes = with_(
      { ...node("tts", "tts", "turn", {}, ["sim/a"]), fallback: "plain" },
      node("plain", "tts", "turn", {}, ["sim/plain"]),
    );
    const h = open(nodes);
    h.utter("tell me a story");
    const llm = h.open("llm");
    h.feed(h.textChunk(llm, "Once upon a time. There was a fox in it. "));
    h.feed(h.audioChunk(h.open("tts"), 0, 18, { segmentEnd: true }));
    const effects = h.feed(h.outcome(h.open("tts"), "error"));
    expect(effects).toContainEqual(expect.objectContaining({ type: "provider_open", provider: "sim/plain" }));
    h.feed(h.textChunk(llm, "It sang in the wood all day. "), h.outcome(llm));
    const plain = Object.values(h.state.invocations).find((inv) => inv.modality === "tts");
    expect(plain?.clauses.map(({ segment, spans }) => `${segment} ${h.text(spans).trim()}`)).toEqual([
      "1 There was a fox in it.",
      "2 It sang in the wood all day.",
    ]);
    h.speakPending();
    expect(h.signals("commit")).toEqual(["commit#1"]);
    expect(h.state.turns[0]?.segments).toHaveLength(3);
    checkReplay(h);
  });

  test("F-007 what a translator cannot translate goes on as it is", () => {
    const german = node("german", "translator", "turn", { target_language: "de" }, ["sim/de"]);
    const nodes = [
      ...with_(node("llm", "llm", "turn", {}, ["sim/a"])),
      { ...german, fallback: "as_is" },
      node("as_is", "filter", "turn"),
    ];
    const edges = EDGES.flatMap((e) =>
      e === "llm.text -> segmenter.text" ? ["llm.text -> german.text", "german.text -> segmenter.text"] : [e],
    );
    const h = open(nodes, edges);
    h.utter("tell me a story");
    const llm = h.open("llm");
    h.feed(h.textChunk(llm, "Once upon a time there was a fox. It sang in the wood all day. "));
    const asked = Object.values(h.state.invocations).find((inv) => inv.id !== llm && inv.modality === "llm");
    h.feed(h.outcome(asked?.id ?? 0, "error"));
    expect(h.signals("fallback")).toEqual(["fallback#1(error)"]);
    h.feed(h.textChunk(llm, "Then it slept. "), h.outcome(llm));
    expect(spoken(h).replaceAll("|", "")).toBe(
      "Once upon a time there was a fox. It sang in the wood all day. Then it slept. ",
    );
    h.speakPending();
    expect(h.signals("commit")).toEqual(["commit#1"]);
    checkReplay(h);
  });

  test("a cancel in the same batch comes first: nothing is taken over in a turn that is over", () => {
    const h = canned(["sim/a"]);
    const effects = h.feed(
      { type: "operator", command: "cancel_turn", turn: 1, reason: "operator" },
      h.outcome(h.open("llm"), "error"),
    );
    expect(told(effects).filter((s) => s.startsWith("abort") || s.startsWith("commit"))).toEqual([
      "abort#1(cancelled)",
    ]);
    expect(spoken(h)).toBe("");
    checkReplay(h);
  });

  test("a model whose providers were all left out at the start is replaced from its first event on", () => {
    const h = canned([]);
    expect(h.signals("fallback")).toEqual(["fallback#1(no_candidate)"]);
    h.speakPending();
    expect(h.signals("commit")).toEqual(["commit#1"]);
    checkReplay(h);
  });

  test("the resolved plan names the action, and only where there is one", () => {
    const actions = (h: KernelHarness) =>
      records(h, "plan").map((r) =>
        r.kind === "plan" ? (r.plan as { adaptiveActions: string[] }).adaptiveActions : [],
      );
    expect(actions(canned())).toEqual([["switch", "fallback"]]);
    const h = open(with_(node("llm", "llm", "turn", {}, ["sim/a"])));
    h.utter("tell me a story");
    expect(actions(h)).toEqual([["switch"]]);
  });
});
