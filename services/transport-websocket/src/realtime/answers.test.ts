import { describe, expect, test } from "vitest";
import { Answers } from "./answers.ts";
import { Items } from "./items.ts";
import { Playback } from "./playback.ts";
import { Utterances } from "./utterances.ts";

function rig() {
  const sent: { readonly type: string; readonly [field: string]: unknown }[] = [];
  const items = new Items();
  const send = (event: (typeof sent)[number]): void => void sent.push(event);
  const answers = new Answers(items, send, () => ({}));
  const utterances = new Utterances(items, send, () => 1_000);
  const types = (): string[] =>
    sent.map(({ type }) => type.replace(/^(response|conversation|input_audio_buffer)\./, ""));
  const done = (): unknown[] =>
    sent.flatMap(({ type, response }) => (type === "response.done" ? [(response as { status: string }).status] : []));
  return { sent, items, answers, utterances, types, done };
}

const frame = new Uint8Array(960);

describe("turns as responses", () => {
  test("F-084 a response is done once both its close and its last sound have come, in whichever order", () => {
    for (const closeFirst of [true, false]) {
      const { answers, done } = rig();
      answers.signal("turn_open", 1, "");
      answers.text(1, "Hello");
      answers.audio(1, 0, frame, 20_000);
      const close = (): void => {
        answers.signal("commit", 1, "");
        answers.signal("close", 1, "");
      };
      if (closeFirst) close();
      else answers.audioEnded(1);
      expect(done()).toEqual([]);
      if (closeFirst) answers.audioEnded(1);
      else close();
      expect(done()).toEqual(["completed"]);
      expect(answers.active()).toBeNull();
    }
  });

  test("F-039 a fence ends the response at once, once; why is told in the protocol's words", () => {
    const cases = [
      ["barge_in", "cancelled", { type: "cancelled", reason: "turn_detected" }],
      ["user_cancel", "cancelled", { type: "cancelled", reason: "client_cancelled" }],
      ["provider_failure", "failed", { type: "failed", error: { type: "server_error", code: "provider_failure" } }],
    ] as const;
    for (const [reason, status, details] of cases) {
      const { answers, sent, types } = rig();
      answers.signal("turn_open", 1, "");
      answers.audio(1, 0, frame, 20_000);
      answers.fence(1, false, reason);
      answers.signal("abort", 1, reason);
      answers.signal("close", 1, "");
      expect(sent.at(-1)).toMatchObject({ type: "response.done", response: { status, status_details: details } });
      expect(types().filter((type) => type === "done")).toHaveLength(1);
    }
  });

  test("a turn without a word is done with its close; one that failed says why; other turns are left alone", () => {
    const { answers, done } = rig();
    answers.signal("turn_open", 1, "");
    answers.signal("commit", 1, "");
    answers.signal("close", 1, "");
    answers.signal("turn_open", 2, "");
    answers.signal("abort", 2, "provider_failure");
    answers.signal("turn_open", 3, "");
    answers.fence(2, true, "barge_in");
    expect(done()).toEqual(["completed", "failed"]);
    expect(answers.active()).toMatchObject({ turn: 3 });
  });

  test("clauses become one transcript, with a space where none is", () => {
    const { answers, items, sent } = rig();
    for (const words of ["One.", "Two. ", "Three."]) answers.text(1, words);
    const deltas = sent.flatMap(({ delta }) => (delta === undefined ? [] : [delta]));
    expect(deltas).toEqual(["One.", " Two. ", "Three."]);
    expect(items.spoken(1, 1)?.transcript).toBe("One. Two. Three.");
  });
});

describe("what the caller says", () => {
  test("F-042 words begin speech, its turn ends it: stopped, committed, shown, transcribed", () => {
    const { utterances, types, sent } = rig();
    utterances.words(1, "how", false, false);
    utterances.words(1, "how many days", true, false);
    utterances.words(1, "in february", true, false);
    utterances.turnOpened();
    expect(types()).toEqual([
      "speech_started",
      "speech_stopped",
      "committed",
      "item.added",
      "item.done",
      "item.input_audio_transcription.delta",
      "item.input_audio_transcription.delta",
      "item.input_audio_transcription.completed",
    ]);
    expect(sent.at(-1)).toMatchObject({ transcript: "how many days in february" });
    expect(new Set(sent.flatMap(({ item_id: id }) => (id === undefined ? [] : [id]))).size).toBe(1);
  });

  test("F-042 a commit shows the item at once, and its words find it later", () => {
    const { utterances, types, sent } = rig();
    utterances.commit(true);
    expect(types()).toEqual(["committed", "item.added", "item.done"]);
    utterances.words(4, "yes", true, false);
    utterances.turnOpened();
    expect(sent.at(-1)).toMatchObject({ transcript: "yes", item_id: sent[0]?.item_id });
    expect(types()).not.toContain("speech_started");
  });

  test("F-039 words under the agent's voice are no speech until they interrupt", () => {
    const { utterances, types } = rig();
    utterances.words(1, "mhm", true, true);
    expect(types()).toEqual([]);
    utterances.interrupted();
    expect(types()).toEqual(["speech_started"]);
    utterances.turnOpened();
    expect(types()).toContain("item.input_audio_transcription.completed");
  });

  test("a turn that the agent opens by itself answers nobody", () => {
    const { utterances, types } = rig();
    utterances.turnOpened();
    expect(types()).toEqual([]);
  });
});

describe("what can have been played", () => {
  test("F-039 never more than was sent or than time allows, and gaps are no sound", () => {
    const playback = new Playback();
    const output = playback.sent(1, 0, 100_000, 100_000, 0);
    // Nothing is heard the moment it is sent.
    expect(playback.playedUs(output, 40_000_000)).toBe(0);
    expect(playback.playedUs(output, 70_000_000)).toBe(30_000);
    expect(playback.playedUs(output, 900_000_000)).toBe(100_000);
    playback.sent(1, 0, 200_000, 100_000, 1_000_000_000);
    expect(playback.playedUs(output, 1_000_000_000)).toBe(100_000);
    expect(playback.playedUs(output, 1_080_000_000)).toBe(140_000);
    const next = playback.sent(2, 0, 50_000, 50_000, 1_040_000_000);
    expect(playback.playedUs(next, 1_130_000_000)).toBe(0);
    expect(playback.playedUs(next, 1_160_000_000)).toBe(20_000);
  });
});
