import type { AddressInfo } from "node:net";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type WebSocket, WebSocketServer } from "ws";
import { ManualClock, systemClock } from "../../testing/clocks.ts";
import { recorder, request } from "../../testing/recorder.ts";
import { createElevenLabsTts } from "./tts.ts";

/** What the vendor does at the end of the text, by hand: cases that its documentation leaves open. */
let answer: (socket: WebSocket) => void = () => {};
/** A status that refuses the handshake; 0: none. */
let refusal = 0;
let server: WebSocketServer;
let baseUrl = "";

beforeAll(async () => {
  server = new WebSocketServer({
    port: 0,
    host: "127.0.0.1",
    verifyClient: (_about, done) => done(refusal === 0, refusal, "Refused"),
  });
  await new Promise((resolve) => server.once("listening", resolve));
  baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  server.on("connection", (socket) => {
    socket.on("message", (data) => {
      if ((JSON.parse(String(data)) as { text: string }).text === "") answer(socket);
    });
  });
});
afterAll(() => {
  for (const socket of server.clients) socket.terminate();
  server.close();
});
afterEach(() => {
  answer = () => {};
  refusal = 0;
});

/** Ten milliseconds a character at 16 kHz. */
const bytesPerSign = 320;
function said(text: string, aligned = true): object {
  const chars = [...text];
  const alignment = { chars, charStartTimesMs: chars.map((_, i) => i * 10), charDurationsMs: chars.map(() => 10) };
  const audio = Buffer.alloc(chars.length * bytesPerSign, 1).toString("base64");
  return { audio, isFinal: null, alignment: aligned ? alignment : null };
}
const final = { audio: null, isFinal: true };

async function speak(clauses: readonly string[], messages: readonly object[]) {
  answer = (socket) => {
    for (const message of messages) socket.send(JSON.stringify(message));
    socket.close(1000);
  };
  const voice = createElevenLabsTts({ clock: systemClock(), baseUrl, key: () => "k", options: {} });
  const sink = recorder();
  const invocation = voice.open(request({ modality: "tts", provider: voice.name, settings: { stall_ms: 300 } }), sink);
  for (const [segment, text] of clauses.entries()) invocation.push({ kind: "text", text, segment });
  invocation.finish();
  const outcome = await sink.ended;
  const audio = sink.chunks.flatMap((chunk) => (chunk.kind === "audio" ? [chunk] : []));
  const frames = (segment: number): number => audio.filter((chunk) => chunk.segment === segment).length;
  const words = (segment: number) =>
    audio.flatMap((chunk) => (chunk.segment === segment && chunk.words ? [chunk.words] : [])).at(-1);
  return { outcome, audio, frames, words, ends: audio.filter(({ segmentEnd }) => segmentEnd).map((c) => c.segment) };
}

describe("where a clause ends in the audio", () => {
  test("F-064 a message with the end of one clause and the beginning of the next is cut between them", async () => {
    const told = await speak(["One two.", "Three."], [said("One "), said("two. Thr"), said("ee. "), final]);
    expect(told.outcome.kind).toBe("success");
    expect(told.ends).toEqual([0, 1]);
    // 9 and 7 characters of 10 ms, in frames of 20 ms.
    expect([told.frames(0), told.frames(1)]).toEqual([5, 4]);
    expect(told.words(0)).toEqual([
      { from: 0, to: 3, startUs: 0, endUs: 30_000 },
      { from: 4, to: 8, startUs: 40_000, endUs: 80_000 },
    ]);
    expect(told.words(1)).toEqual([{ from: 0, to: 6, startUs: 0, endUs: 60_000 }]);
  });

  test("a vendor that tells no space after a clause, and nothing of its last sign, loses no audio", async () => {
    const told = await speak(["One! 🚀", "Two."], [said("One!"), said("Two."), final]);
    expect([told.outcome.kind, told.ends, told.frames(0), told.frames(1)]).toEqual(["success", [0, 1], 2, 2]);
  });

  test("without alignments all is spoken, and every clause comes to its end", async () => {
    const told = await speak(["One.", "Two."], [said("One. Two. ", false), final]);
    expect([told.outcome.kind, told.ends, told.words(0)]).toEqual(["success", [0, 1], undefined]);
    expect(told.audio.length).toBe(6);
  });

  test("audio after all characters is the last clause's", async () => {
    const told = await speak(["One."], [said("One. "), said("  ", false), final]);
    expect([told.outcome.kind, told.frames(0), told.audio.at(-1)?.segmentEnd]).toEqual(["success", 4, true]);
  });
});

const message = "zanzibar";
const ends: readonly (readonly [string, readonly object[], string, RegExp])[] = [
  ["no quota", [{ message, error: "quota_exceeded", code: 1008 }], "overload", /^quota:/],
  ["too many at once", [{ message, error: "too_many_concurrent_requests", code: 1008 }], "overload", /^rate_limited:/],
  ["a busy system", [{ message, error: "system_busy", code: 1008 }], "overload", /503/],
  ["what it will not say", [{ message, error: "content_violation", code: 1008 }], "safety_block", /./],
  ["too late a text", [{ message, error: "input_timeout_exceeded", code: 1008 }], "timeout", /./],
  ["an unknown voice", [{ message, error: "voice_not_found", code: 1008 }], "error", /./],
  ["a close in mid-clause", [said("One ")], "disconnect", /1000/],
  ["audio that is no text", [{ audio: 3, isFinal: null }], "error", /^malformed/],
  ["a list", [[1]], "error", /^malformed/],
  ["nothing said", [final], "empty", /./],
];
test.each(ends)("F-131 %s", async (_name, messages, kind, detail) => {
  const { outcome } = await speak(["One two."], messages);
  expect(outcome).toMatchObject({ kind, detail: expect.stringMatching(detail) });
  expect(outcome.detail).not.toContain(message);
});

test.each([
  [401, "unauthorized"],
  [403, "unauthorized"],
  [429, "overload"],
  [500, "error"],
])("F-131 a handshake refused with %i is %s", async (status, kind) => {
  refusal = status;
  expect((await speak(["One."], [])).outcome).toMatchObject({ kind, detail: expect.stringContaining(String(status)) });
});

test("virtual time stands still while the vendor is to say something, and only then", async () => {
  answer = (socket) => {
    for (const told of [said("One. "), final]) socket.send(JSON.stringify(told));
  };
  const clock = new ManualClock();
  const voice = createElevenLabsTts({ clock, baseUrl, key: () => "k", options: {} });
  const sink = recorder();
  const invocation = voice.open(request({ modality: "tts", provider: voice.name }), sink);
  expect(clock.holds).toBe(0);
  invocation.push({ kind: "text", text: "One.", segment: 0 });
  expect(clock.holds).toBe(1);
  invocation.finish();
  expect((await sink.ended).kind).toBe("success");
  expect([clock.holds, clock.pending]).toEqual([0, 0]);
});
