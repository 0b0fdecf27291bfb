import { describe, expect, test } from "vitest";
import { DEFAULT_CONFIG, sessionObject, updated } from "./session-config.ts";

const audio = (input: unknown, output: unknown = {}) => ({ type: "realtime", audio: { input, output } });

describe("session.update", () => {
  test("F-090 formats by their names of today and of before, each way for itself", () => {
    const first = updated(DEFAULT_CONFIG, audio({ format: { type: "audio/pcmu" } }, { format: "g711_alaw" }));
    expect(first).toEqual({ ok: true, value: { input: "audio/pcmu", output: "audio/pcma", manual: false } });
    if (!first.ok) return;
    expect(updated(first.value, audio({ format: { type: "audio/pcm", rate: 24_000 } }))).toMatchObject({
      value: { input: "audio/pcm", output: "audio/pcma" },
    });
    expect(updated(DEFAULT_CONFIG, { input_audio_format: "g711_ulaw" })).toMatchObject({
      value: { input: "audio/pcmu" },
    });
  });

  test("F-042 turn detection null is push to talk; any other kind is the pipeline's own", () => {
    const manual = updated(DEFAULT_CONFIG, audio({ turn_detection: null }));
    expect(manual).toMatchObject({ value: { manual: true } });
    if (!manual.ok) return;
    expect(updated(manual.value, { instructions: "…" })).toMatchObject({ value: { manual: true } });
    expect(updated(manual.value, audio({ turn_detection: { type: "semantic_vad" } }))).toMatchObject({
      value: { manual: false },
    });
    expect(
      updated(DEFAULT_CONFIG, audio({ turn_detection: { type: "server_vad", create_response: false } })),
    ).toMatchObject({
      ok: false,
      error: { param: "session.audio.input.turn_detection.create_response" },
    });
  });

  test("what the pipeline decides is shown as it is, whatever was sent", () => {
    const sent = { type: "realtime", instructions: "Sing.", tool_choice: "auto", tools: [], prompt: { id: "p" } };
    const next = updated(DEFAULT_CONFIG, sent);
    if (!next.ok) throw new Error(next.error.message);
    expect(sessionObject("s", "voice-assistant@1", next.value)).toMatchObject({
      model: "voice-assistant@1",
      instructions: "",
      audio: { input: { turn_detection: { interrupt_response: true } }, output: { voice: "pipeline" } },
    });
  });

  test.each([
    [{ type: "transcription" }, "session.type"],
    [{ tools: [{ type: "mcp" }] }, "session.tools"],
    [{ output_modalities: ["text"] }, "session.output_modalities"],
    [{ volume: 3 }, "session.volume"],
    [audio({ turn_detection: { type: "mind" } }), "session.audio.input.turn_detection.type"],
    [audio({}, { format: { type: "audio/mp3" } }), "session.audio.output.format"],
  ])("%j is refused by its field, and changes nothing", (session, param) => {
    expect(updated(DEFAULT_CONFIG, session)).toMatchObject({ ok: false, error: { param } });
  });
});
