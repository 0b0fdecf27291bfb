import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Effect } from "./effect.ts";
import { conversation, idle, told } from "./testing/scenes.ts";
import { World } from "./testing/world.ts";

const pushed = (effects: readonly Effect[]) =>
  effects.flatMap((effect) => (effect.type === "provider_push_audio" ? [effect.payload.ref] : []));

describe("F-024 transcripts", () => {
  test("the first revision may be 0", () => {
    const h = idle();
    h.hear(true, 6);
    h.hear(false, 6);
    const stt = h.open("stt");
    h.feed(h.textChunk(stt, "hello", { revision: 0 }), h.outcome(stt));
    expect(conversation(h)).toEqual(["user: hello"]);
  });

  test("random streams: monotonic partials, one immutable final per segment, nothing that was said is lost or said twice", () => {
    const chunk = fc.record({
      segment: fc.integer({ min: 0, max: 3 }),
      revision: fc.integer({ min: 0, max: 4 }),
      final: fc.boolean(),
      text: fc.constantFrom("one ", "two ", "three ", "four "),
    });
    fc.assert(
      fc.property(fc.array(chunk, { maxLength: 14 }), (chunks) => {
        const base = idle();
        const h = new World(base.config);
        h.feed(h.control("connected"));
        h.hear(true, 6);
        h.hear(false, 6);
        const stt = h.open("stt");
        // The model: what a reader of the stream may rely on.
        const finals: string[] = [];
        let segment = 0;
        let revision = -1;
        let closed = false;
        let partial = "";
        const accepted: string[] = [];
        for (const c of chunks) {
          const fits =
            c.segment > segment || (c.segment === segment && !closed && c.revision > revision) || revision === -1;
          if (!fits) continue;
          if (c.segment > segment && partial !== "") finals.push(partial);
          segment = c.segment;
          revision = c.revision;
          closed = c.final;
          partial = c.final ? "" : c.text;
          if (c.final) finals.push(c.text);
          accepted.push(`${c.final} ${c.text}`);
        }
        for (const c of chunks) h.feed(h.textChunk(stt, c.text, c));
        const seen = h.log.flatMap(({ effect }) =>
          effect.type === "egress_text" && effect.role === "user" ? [`${effect.final}`] : [],
        );
        expect(seen).toEqual(accepted.map((entry) => entry.split(" ")[0]));
        h.feed(h.outcome(stt));
        const words = [...finals, partial].join("").trim();
        expect(conversation(h)).toEqual(words === "" ? [] : [`user: ${words}`]);
        expect(h.problems).toEqual([]);
      }),
      { numRuns: 300 },
    );
  });

  test("two utterances that close at once are proposed in the order they were spoken", () => {
    const h = idle();
    h.hear(true, 6);
    h.hear(false, 6);
    const first = h.open("stt");
    h.hear(true, 6);
    h.hear(false, 6);
    const second =
      Object.values(h.state.invocations).find((inv) => inv.modality === "stt" && inv.id !== first)?.id ?? 0;
    h.feed(h.textChunk(second, "second"), h.outcome(second));
    expect(conversation(h)).toEqual([]);
    h.feed(h.textChunk(first, "first"), h.outcome(first));
    expect(conversation(h)).toEqual(["user: first"]);
    expect(h.state.proposals.size).toBe(1);
  });

  test("a third utterance settles the first with what it has, and ends its recogniser", () => {
    const h = idle();
    const recognisers: number[] = [];
    for (const words of ["one ", "two ", "three "]) {
      h.hear(true, 6);
      const stt = Object.values(h.state.invocations).findLast((inv) => inv.modality === "stt")?.id ?? 0;
      recognisers.push(stt);
      h.feed(h.textChunk(stt, words, { final: false }));
      h.hear(false, 6);
    }
    expect(conversation(h)).toEqual(["user: one"]);
    expect(h.state.prelude.closing.map((hearing) => hearing.utterance)).toEqual([2, 3]);
    h.advance(2_000);
    expect(Object.values(h.state.invocations).filter((inv) => recognisers.includes(inv.id))).toEqual([]);
  });

  test("F-140 the final that never comes: proposed with the partial after the final wait", () => {
    const h = idle();
    h.hear(true, 6);
    h.hear(false, 6);
    const stt = h.open("stt");
    h.feed(h.textChunk(stt, "almost ", { final: false }));
    h.advance(970);
    expect(h.signals("turn_open")).toEqual([]);
    h.advance(30);
    expect(conversation(h)).toEqual(["user: almost"]);
    // Its cancel is never acknowledged: degraded after the grace period, and forgotten (F-037).
    h.advance(100);
    expect(h.state.degraded).toBe(true);
    expect(h.state.invocations[stt]).toBeUndefined();
  });

  test("F-133 a recogniser that fails before its first word is switched; the next is given the same audio", () => {
    const h = idle({}, {}, { stt: ["sim/stt", "sim/stt-b"] });
    const spoken = pushed(h.hear(true, 6));
    h.hear(false, 2);
    const effects = h.feed(h.outcome(h.open("stt"), "error"));
    expect(told(effects)).toEqual(["provider_error(error: )", "provider_switch(recogniser_failed)"]);
    expect(effects.find((effect) => effect.type === "provider_open")).toMatchObject({
      provider: "sim/stt-b",
      attempt: 2,
    });
    expect(pushed(effects)).toEqual(expect.arrayContaining(spoken));
    h.hear(false, 4);
    const stt = h.open("stt");
    h.feed(h.textChunk(stt, "hello"), h.outcome(stt));
    expect(conversation(h)).toEqual(["user: hello"]);
  });

  test("a recogniser that fails for good leaves no turn and no stuck utterance", () => {
    const h = idle();
    h.hear(true, 6);
    h.feed(h.outcome(h.open("stt"), "error"));
    h.hear(false, 6);
    expect(h.state.prelude.utterance.phase).toBe("none");
    expect(h.state.turns).toEqual([]);
    expect(h.utter("hello").length).toBeGreaterThan(0);
    expect(conversation(h)).toEqual(["user: hello"]);
  });
});

describe("F-042 push to talk", () => {
  test("the endpoint comes at once, and all audio before it reaches the recogniser first", () => {
    const h = idle();
    h.hear(true, 6);
    const stt = h.open("stt");
    h.advance(20);
    const frame = h.frame();
    const end = h.control("end_of_utterance", { controlClass: "positioned", lastMediaSequence: h.audioSequence });
    const effects = h.feed(frame, end);
    const order = effects.flatMap((effect) =>
      effect.type === "provider_push_audio" || effect.type === "provider_finish" ? [effect.type] : [],
    );
    expect(order).toEqual(["provider_push_audio", "provider_finish"]);
    h.feed(h.textChunk(stt, "hello"), h.outcome(stt));
    expect(conversation(h)).toEqual(["user: hello"]);
  });

  test("a positioned end waits for its media, then acts", () => {
    const h = idle();
    h.hear(true, 6);
    h.feed(h.control("end_of_utterance", { controlClass: "positioned", lastMediaSequence: h.audioSequence + 1 }));
    expect(h.state.prelude.utterance.phase).toBe("confirmed");
    h.hear(true, 1);
    expect(h.state.prelude.utterance.phase).toBe("none");
    expect(h.log.some(({ effect }) => effect.type === "signal" && effect.event.fields.forced === 1)).toBe(false);
  });

  test("after 40 ms it acts without the media, marked forced; later ones keep their place behind it", () => {
    const h = idle();
    h.hear(true, 6);
    const last = h.audioSequence;
    h.feed(
      h.control("end_of_utterance", { controlClass: "positioned", lastMediaSequence: last + 5 }),
      h.control("mute", { controlClass: "positioned", lastMediaSequence: last }),
    );
    h.advance(39);
    expect(h.state.prelude.utterance.phase).toBe("confirmed");
    expect(h.state.prelude.muted).toBe(false);
    h.advance(1);
    expect(h.state.prelude.utterance.phase).toBe("none");
    expect(h.state.prelude.muted).toBe(true);
    const marked = h.log.flatMap(({ effect }) =>
      effect.type === "signal" && effect.event.fields.forced === 1 ? [effect.event.signal] : [],
    );
    expect(marked).toEqual(["end_of_utterance", "mute"]);
  });

  test("mute ends what is being said: no audio comes that could", () => {
    const h = idle();
    h.hear(true, 6);
    h.feed(h.control("mute", { lastMediaSequence: h.audioSequence }));
    expect(h.state.prelude.utterance.phase).toBe("none");
    expect(h.state.prelude.closing).toHaveLength(1);
  });

  test("an utterance whose audio stops coming ends by itself", () => {
    const h = idle();
    h.hear(true, 6);
    h.advance(1_700);
    expect(h.state.prelude.utterance.phase).toBe("none");
    expect(h.state.prelude.closing).toHaveLength(1);
  });

  test("a reconnecting caller is waited for", () => {
    const h = idle();
    h.hear(true, 6);
    h.feed(h.control("disconnected"));
    h.advance(3_000);
    expect(h.state.prelude.utterance.phase).toBe("confirmed");
    h.feed(h.control("connected"));
    h.hear(false, 6);
    expect(h.state.prelude.utterance.phase).toBe("none");
  });
});

describe("X-01 proposals while the caller speaks", () => {
  for (const secondProposal of ["preempt", "queue"] as const)
    test(`${secondProposal}: the agent waits until the caller's words are answered`, () => {
      const h = idle({ secondProposal });
      h.hear(true, 6);
      const spans = [{ ref: h.ref("are you still there?"), from: 0, to: 20 }];
      h.feed({ type: "proposal", origin: "timer", key: "", say: { spans, chars: 20 }, reason: "silence" });
      expect(h.signals("turn_open#")).toEqual([]);
      h.hear(false, 6);
      const stt = h.open("stt");
      h.feed(h.textChunk(stt, "hello"), h.outcome(stt));
      expect(conversation(h)).toEqual(["user: hello"]);
      expect(h.state.proposals.size).toBe(1);
    });

  test("when nothing was said after all, it is let through", () => {
    const h = idle();
    h.hear(true, 6);
    const spans = [{ ref: h.ref("hello?"), from: 0, to: 6 }];
    h.feed({ type: "proposal", origin: "timer", key: "", say: { spans, chars: 6 }, reason: "silence" });
    h.hear(false, 6);
    h.feed(h.outcome(h.open("stt")));
    expect(h.signals("turn_open#")).toEqual(["turn_open#1"]);
  });

  test("words whose turn opens while the caller goes on speaking are kept; the turn gives way at once", () => {
    const h = idle();
    h.hear(true, 6);
    h.hear(false, 6);
    const first = h.open("stt");
    h.hear(true, 6);
    h.feed(h.textChunk(first, "I would like"), h.outcome(first));
    expect(h.signals("abort")).toEqual(["abort#1(cancelled)"]);
    expect(conversation(h)).toEqual(["user: I would like"]);
  });

  test("the agent speaks first without words of the caller", () => {
    const h = idle();
    h.feed({ type: "proposal", origin: "timer", key: "", say: null, reason: "greeting" });
    expect(h.signals("turn_open#")).toEqual(["turn_open#1"]);
    expect(h.state.conversation).toEqual([]);
  });
});
