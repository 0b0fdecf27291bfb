import type { InvocationSink } from "@rspp/ports/provider";
import { describe, expect, test } from "vitest";
import { ManualClock } from "../../testing/clocks.ts";
import { type Recorder, recorder } from "../../testing/recorder.ts";
import { GatheredRecognition, type LineEvents, StreamedRecognition } from "./recognition.ts";

const format = { codec: "pcm_s16le", rateHz: 16_000, channels: 1 } as const;
const options = { clock: new ManualClock(), connectTimeoutMs: 1_000, stallMs: 1_000, language: "en-US" };

/** A recognition over a vendor that says what the test says. */
function streamed(shape = { minMs: 60, maxMs: 100, keepAliveMs: 0 }) {
  const did: string[] = [];
  const sink = recorder();
  let events: LineEvents | undefined;
  const recognition = new StreamedRecognition(options, sink, shape, (given) => {
    events = given;
    return {
      audio: (pcm) => void did.push(`${pcm.length / 32} ms`),
      finish: () => void did.push("finish"),
      keepAlive: () => void did.push("keepAlive"),
      close: () => void did.push("close"),
    };
  });
  const push = (ms: number): void =>
    recognition.push({ kind: "audio", bytes: new Uint8Array(ms * 32), format, durationUs: ms * 1_000 });
  return { recognition, sink, did, push, tell: () => events as LineEvents };
}

const told = (sink: Recorder): unknown[] =>
  sink.chunks.map((chunk) => chunk.kind === "text" && [chunk.segment, chunk.final, chunk.text]);

describe("a streamed recognition", () => {
  test("audio waits for the connection, goes in pieces the vendor takes, the rest before the end", () => {
    const { recognition, did, push, tell } = streamed();
    for (let n = 0; n < 8; n++) push(20);
    expect(did).toEqual([]);
    tell().ready();
    expect(did).toEqual(["100 ms", "60 ms"]);
    for (let n = 0; n < 4; n++) push(20);
    recognition.finish();
    push(20);
    expect(did.slice(2)).toEqual(["60 ms", "20 ms", "finish"]);
    recognition.cancel();
    expect(did.at(-1)).toBe("close");
  });

  test("finished before the connection stands, it asks when it does, once", () => {
    const { recognition, did, push, tell } = streamed();
    push(20);
    recognition.finish();
    expect(did).toEqual([]);
    tell().ready();
    tell().ready();
    expect(did).toEqual(["20 ms", "finish"]);
    recognition.cancel();
  });

  test("F-160 segments follow their finals, revisions rise, what says nothing new is not told", () => {
    const { recognition, sink, push, tell } = streamed();
    push(60);
    const { ready, heard, done } = tell();
    ready();
    heard({ text: "", final: false });
    heard({ text: "go", final: false });
    heard({ text: "go", final: false });
    heard({ text: "go", final: false, endpoint: true });
    heard({ text: "Go left.", final: true, confidence: 0.9 });
    heard({ text: "", final: true });
    heard({ text: "now", final: false, language: "en-GB" });
    recognition.finish();
    heard({ text: "", final: true });
    done();
    heard({ text: "late", final: true });
    expect(told(sink)).toEqual([
      [0, false, "go"],
      [0, false, "go"],
      [0, true, "Go left."],
      [1, false, "now"],
      [1, true, ""],
    ]);
    expect(sink.chunks.map((chunk) => chunk.kind === "text" && chunk.revision)).toEqual([0, 1, 2, 3, 4]);
    expect(sink.chunks.map((chunk) => chunk.kind === "text" && chunk.language)).toContain("en-GB");
    expect(sink.outcomes).toEqual([{ kind: "success", detail: "", usage: { audioUs: 60_000 } }]);
  });

  test("nothing but blanks is empty; a failure is the one outcome, and closes", () => {
    const blank = streamed();
    blank.push(60);
    blank.tell().ready();
    blank.recognition.finish();
    blank.tell().heard({ text: " ", final: true });
    blank.tell().done();
    expect(blank.sink.outcomes).toMatchObject([{ kind: "empty" }]);
    const lost = streamed();
    lost.tell().failed({ kind: "disconnect", detail: "lost" });
    lost.tell().done();
    expect([lost.sink.outcomes, lost.did]).toEqual([[{ kind: "disconnect", detail: "lost" }], ["close"]]);
  });
});

test("a gathered recognition asks once, with all of it; cancelled, its request is aborted", async () => {
  const asked: { bytes: number; signal: AbortSignal }[] = [];
  const never = Promise.withResolvers<undefined>();
  const start = (sink: InvocationSink): GatheredRecognition =>
    new GatheredRecognition(options, sink, ({ pcm, signal }) => {
      asked.push({ bytes: pcm.length, signal });
      return never.promise;
    });
  const sink = recorder();
  const recognition = start(sink);
  for (let n = 0; n < 5; n++)
    recognition.push({ kind: "audio", bytes: new Uint8Array(640), format, durationUs: 20_000 });
  expect(asked).toEqual([]);
  recognition.finish();
  recognition.finish();
  expect(asked.map(({ bytes, signal }) => [bytes, signal.aborted])).toEqual([[3_200, false]]);
  recognition.cancel();
  expect([sink.outcomes.map(({ kind }) => kind), asked[0]?.signal.aborted]).toEqual([["cancelled"], true]);
  never.resolve(undefined);
  await never.promise;
  expect(sink.outcomes.length).toBe(1);
});
