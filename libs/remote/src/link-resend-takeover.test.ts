import { expect, test } from "vitest";
import { type Audio, Resend, type Signal } from "./link-resend.ts";

const audio = (sequence: number): Audio => ({
  kind: "audio",
  epoch: 1,
  sequence,
  mediaUs: sequence * 20_000,
  durationUs: 20_000,
  format: { codec: "pcm_s16le", rateHz: 16_000, channels: 1 },
  bytes: new Uint8Array(640),
});
const positioned = (sequence: number, lastMediaSequence: number): Signal => ({
  kind: "control",
  epoch: 1,
  sequence,
  signal: "end_of_utterance",
  controlClass: "positioned",
  lastMediaSequence,
});
const connected: Signal = { kind: "control", epoch: 2, sequence: 9, signal: "connected", controlClass: "overtaking" };

/** What a successor is told, in words. */
function told(rest: ReturnType<Resend["again"]>): string[] {
  return rest.map((kept) => {
    if (!("number" in kept)) return `a${kept.message.sequence}`;
    const { message } = kept;
    return `${kept.number}:${message.kind === "control" ? message.signal : message.kind}`;
  });
}

/** Frames 1 to 10 and a signal after the fifth, all of it acted on. */
function heard(keeps: boolean): Resend {
  const resend = new Resend(keeps);
  for (let n = 1; n <= 10; n++) {
    resend.audio(audio(n)).linkSeq = n;
    if (n !== 5) continue;
    const kept = resend.signal(positioned(3, 5));
    if (kept !== null) kept.linkSeq = 1;
  }
  resend.trim({ control: 1, data: 10, telemetry: 0 });
  return resend;
}

test("F-158 F-096 a successor is told what follows the settled audio, signals in their place, under numbers from one", () => {
  const resend = heard(true);
  resend.signal({ kind: "delivery", epoch: 1, turn: 1, generation: 1, state: "progress", playedUs: 1 });
  resend.audio(audio(11));
  resend.signal(positioned(4, 11));
  expect(told(resend.again(3, [connected]))).toEqual([
    ...["1:connected", "a4", "a5", "2:end_of_utterance", "a6", "a7", "a8", "a9", "a10", "a11", "3:end_of_utterance"],
  ]);
  // The next one, after this one failed: signals that nobody acted on are told again, wherever they stand.
  const again = ["1:connected", "2:end_of_utterance", "a10", "a11", "3:end_of_utterance"];
  expect(told(resend.again(9, [connected]))).toEqual(again);
});

test("what a committed turn was made of is forgotten; without another runtime all that was acted on is", () => {
  const resend = heard(true);
  resend.settle(7);
  resend.trim({ control: 1, data: 10, telemetry: 0 });
  expect(resend.frames).toEqual({ from: 8, through: 10 });
  expect(told(resend.again(0, [connected]))).toEqual(["1:connected", "a8", "a9", "a10"]);
  expect(heard(false).frames).toEqual({ from: 0, through: 0 });
});
