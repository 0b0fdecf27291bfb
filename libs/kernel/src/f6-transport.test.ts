import { describe, expect, test } from "vitest";
import { replayJournal } from "./replay.ts";
import type { SessionConfig } from "./session-config.ts";
import type { KernelHarness } from "./testing/harness.ts";
import { committed, conversation, idle, sealed, speaking } from "./testing/scenes.ts";

const GONE = "transport_disconnect_or_stall";

/** The run, and the same again from its journal: at L1 by its facts, at L2 by the functions themselves. */
function same(h: KernelHarness): void {
  expect(replayJournal(h.config, h.journal)).toMatchObject({ identical: true, divergences: [] });
  expect(replayJournal(h.config, h.journal, { fns: h.fns })).toMatchObject({ identical: true, divergences: [] });
}

const phases = (h: KernelHarness): string[] =>
  h.log.flatMap(({ effect }) => (effect.type === "status" ? [`${effect.phase}(${effect.reason})`] : []));

describe("F6 transport disconnect, stall, silence", () => {
  test("F-138 F6 a disconnect that is mended in time costs no turn its words", () => {
    const h = committed({ reconnectMs: 5_000 });
    h.feed(h.control("disconnected"));
    h.advance(1_000);
    h.feed(h.control("connected"));
    h.advance(3_000);
    h.deliver(1, "completed", h.state.turns[0]?.output.sentUs ?? 0);
    expect(phases(h)).toEqual(["active(connected)", "active(reconnecting)", "active(reconnected)"]);
    expect(h.signals("abort")).toEqual([]);
    expect(conversation(h).at(-1)).toBe("assistant: Once upon a time there was a fox. It lived in a wood.");
    same(h);
  });

  test("F-138 F6 a disconnect past its deadline aborts the turn that cannot go on and ends the session", () => {
    const h = speaking({ reconnectMs: 1_000 });
    h.feed(h.control("disconnected"));
    h.advance(999);
    expect(h.signals("abort")).toEqual([]);
    h.advance(1);
    expect(h.signals("abort")).toEqual([`abort#1(${GONE})`]);
    expect(sealed(h, 1).manifest.terminal).toMatchObject({ kind: "abort", reason: GONE });
    expect(phases(h).at(-1)).toBe("ended(reconnect_timeout)");
    expect(h.timers.size).toBe(0);
    same(h);
  });

  test("F-138 F6 a stall aborts an Active turn; what has committed may still be played", () => {
    const active = speaking();
    active.feed(active.control("stall", { reason: "no_playout" }));
    expect(active.signals("abort")).toEqual([`abort#1(${GONE})`]);
    active.fenceAck(1, 100_000);
    expect(active.state.lifecycle.phase).toBe("active");
    const done = committed();
    done.feed(done.control("stall", { reason: "no_playout" }));
    expect(done.signals("abort")).toEqual([]);
    done.advance(3_000);
    done.deliver(1, "completed", done.state.turns[0]?.output.sentUs ?? 0);
    expect(done.signals("stall")).toEqual(["stall(no_playout)"]);
    same(active);
    same(done);
  });

  test("F-138 F6 output that the line has lost under an Active turn aborts it", () => {
    const h = speaking();
    h.deliver(1, "lost", 100_000);
    expect(h.signals("abort")).toEqual([`abort#1(${GONE})`]);
    same(h);
  });

  test("F-138 X-01 F6 silence of the line is told, ends what is being said, and is prompted by policy", () => {
    const sentence = "Are you still there?";
    const spoken: SessionConfig["spoken"] = { "silence[0]": [{ ref: 9_000, from: 0, to: sentence.length }] };
    const silence = { afterMs: 4_000, prompts: 1, maxPrompts: 1, andThen: "hang_up" } as const;
    const h = idle({ silence }, { spoken });
    h.texts.set(9_000, sentence);
    h.hear(true, 6);
    // The line falls silent in the middle of an utterance: it ends when no frame has come for too long.
    h.feed(h.control("silence"));
    h.advance(2_500);
    expect(h.signals("silence")).toEqual(["silence"]);
    expect(h.state.prelude.utterance.phase).toBe("none");
    const stt = Object.values(h.state.invocations).find((inv) => inv.modality === "stt")?.id ?? 0;
    h.feed(h.textChunk(stt, "hello"), h.outcome(stt));
    expect(h.signals("turn_open#1")).toHaveLength(1);
    h.reply("Hello.");
    h.deliver(1, "accepted", 0);
    h.deliver(1, "started", 0);
    h.advance(500);
    h.deliver(1, "completed", h.state.turns[0]?.output.sentUs ?? 0);
    h.advance(4_000);
    expect(h.signals("turn_open_proposed")).toContain("turn_open_proposed(silence)");
    h.speakPending();
    h.deliver(2, "accepted", 0);
    h.deliver(2, "started", 0);
    h.advance(1_000);
    h.deliver(2, "completed", h.state.turns[0]?.output.sentUs ?? 0);
    h.advance(4_000);
    expect(phases(h).at(-1)).toBe("ended(silence)");
    same(h);
  });
});
