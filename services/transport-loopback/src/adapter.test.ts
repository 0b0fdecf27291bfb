import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bytesToS16, rms } from "@rspp/audio/pcm";
import { parseWav } from "@rspp/audio/wav";
import { asMonoNs } from "@rspp/base/brand";
import { describe, expect, test } from "vitest";
import { createLoopbackAdapter } from "./adapter.ts";
import { createCallerCodec } from "./caller-codec.ts";
import { writeReplyWav, writeStereoWav } from "./recorder.ts";
import { createSampleClock } from "./sample-clock.ts";
import { ManualClock } from "./testing/manual-clock.ts";
import { FORMAT, fence, frame, rig } from "./testing/session.ts";

const ms = (n: number) => asMonoNs(n * 1e6);

describe("sample clock", () => {
  test("instants and samples agree, far from the origin too, at rates that do not divide a second", () => {
    for (const rateHz of [8_000, 16_000, 22_050, 44_100, 48_000]) {
      const clock = createSampleClock(asMonoNs(123), rateHz);
      for (const sample of [0, 1, 2, 7, 441, rateHz, rateHz * 3_600 * 24 * 30 + 5]) {
        const at = clock.instantOf(sample);
        expect(clock.samplesAt(at)).toBe(sample);
        if (sample > 0) expect(clock.samplesAt(asMonoNs(at - 1))).toBe(sample - 1);
      }
    }
  });
});

describe("the caller's side", () => {
  test("F-130 says connected first, then sends 20 ms frames without a stop, silence included", () => {
    const r = rig();
    expect(r.heard[0]?.message).toMatchObject({
      kind: "control",
      signal: "connected",
      sequence: 1,
      // Nothing of it waits for audio: the first frame needs it to have acted.
      controlClass: "overtaking",
    });
    r.clock.advanceMs(1_000);
    const frames = r.audio();
    expect(frames.length).toBe(50);
    expect(frames.map((f) => f.sequence)).toEqual(Array.from({ length: 50 }, (_, i) => i + 1));
    expect(frames.map((f) => f.mediaUs)).toEqual(Array.from({ length: 50 }, (_, i) => i * 20_000));
    expect(frames.every((f) => f.bytes.length === 640 && f.durationUs === 20_000 && f.epoch === 1)).toBe(true);
    expect(frames.every((f) => rms(bytesToS16(f.bytes)) === 0)).toBe(true);
    expect(r.heard[1]?.atNs).toBe(20e6);
  });

  test("speech begins at its instant to the sample, one utterance after the other, and onSpoken comes with its last frame", () => {
    const r = rig();
    const spoken: [string, number][] = [];
    const say = (value: number, name: string, atNs?: ReturnType<typeof ms>) =>
      r.adapter.speak(new Int16Array(500).fill(value), {
        ...(atNs === undefined ? {} : { atNs }),
        onSpoken: () => spoken.push([name, r.clock.nowNs() / 1e6]),
      });
    expect(say(1, "first", ms(45))).toEqual({ startNs: 45e6, endNs: 76.25e6, fromUs: 45_000, toUs: 76_250 });
    expect(say(2, "second", ms(50))).toMatchObject({ fromUs: 76_250 });
    r.clock.advanceMs(200);
    const heard = new Int16Array(r.audio().flatMap((f) => [...bytesToS16(f.bytes)]));
    const expected = new Int16Array(3_200);
    expected.fill(1, 720, 1_220);
    expected.fill(2, 1_220, 1_720);
    expect(heard).toEqual(expected);
    expect(spoken).toEqual([
      ["first", 80],
      ["second", 120],
    ]);
    expect(r.adapter.recording().caller).toEqual(expected);
  });

  test("F-042 end of utterance is positioned after the frame in the making; a stop overtakes", () => {
    const r = rig();
    r.clock.advanceMs(50);
    r.adapter.endOfUtterance();
    r.adapter.stop();
    r.clock.advanceMs(10);
    r.adapter.dtmf("5#");
    expect(r.controls().slice(1)).toMatchObject([
      { signal: "end_of_utterance", controlClass: "positioned", lastMediaSequence: 3, sequence: 2 },
      { signal: "stop", controlClass: "overtaking", reason: "caller_stopped", sequence: 3 },
      { signal: "dtmf", controlClass: "positioned", lastMediaSequence: 3, fields: { "dtmf.digits": "5#" } },
    ]);
    expect(r.controls()[2]).not.toHaveProperty("lastMediaSequence");
    expect(r.audio().length).toBe(3);
  });

  test("muted speech is silence on the line, and the frames go on", () => {
    const r = rig();
    r.adapter.speak(new Int16Array(1_600).fill(9));
    r.adapter.mute();
    r.clock.advanceMs(60);
    r.adapter.unmute();
    r.clock.advanceMs(60);
    expect(r.audio().map((f) => bytesToS16(f.bytes)[0])).toEqual([0, 0, 0, 9, 9, 0]);
    expect(r.controls().map((c) => c.signal)).toEqual(["connected", "mute", "unmute"]);
  });

  test("a process that stood still catches up, but not without bound", () => {
    const r = rig();
    r.clock.advanceMs(100);
    r.clock.stallMs(1_000);
    r.clock.advanceMs(0);
    expect(r.audio().length).toBe(55);
    r.clock.stallMs(3_000);
    r.clock.advanceMs(0);
    expect(r.audio().length).toBe(155);
    expect(r.audio()[55]).toMatchObject({ sequence: 56, mediaUs: 2_100_000 });
    expect(r.adapter.stats().caller.framesSkipped).toBe(50);
    r.adapter.endOfUtterance();
    expect(r.controls().at(-1)?.lastMediaSequence).toBe(155);
  });

  test("playout goes on in a standing process as a sound card does, and reports late what was true", () => {
    const r = rig();
    for (let s = 1; s <= 10; s++) r.adapter.send(frame(s, { end: s === 10 }));
    r.clock.stallMs(150);
    r.adapter.send(fence(1, 2));
    expect(r.story()).toEqual([
      "0 1.1 accepted 0",
      "150 1.1 started 0",
      "150 1.1 progress 100000",
      "150 1.2 ack 150000 flushed 2",
      "150 1.1 cancelled 150000",
    ]);
  });
});

describe("connection", () => {
  test("while it falters frames are lost and playout waits; then both go on with rising sequences", () => {
    const r = rig();
    for (let s = 1; s <= 5; s++) r.adapter.send(frame(s, { end: s === 5 }));
    r.clock.advanceMs(40);
    r.adapter.lose();
    r.clock.advanceMs(100);
    r.adapter.reconnect();
    r.clock.advanceMs(60);
    expect(r.controls().map((c) => c.signal)).toEqual(["connected", "reconnecting", "connected"]);
    expect(r.audio().map((f) => [f.sequence, f.mediaUs / 1000])).toEqual([
      [1, 0],
      [2, 20],
      [3, 140],
      [4, 160],
      [5, 180],
    ]);
    expect(r.story().at(-1)).toBe("200 1.1 completed 100000");
    expect(r.adapter.stats().caller).toMatchObject({ framesSent: 5, framesLost: 5, controlsSent: 3 });
  });

  test("when it is gone open deliveries are lost at what was played, and media is refused until it is back", () => {
    const r = rig();
    for (let s = 1; s <= 5; s++) r.adapter.send(frame(s));
    r.clock.advanceMs(30);
    r.adapter.disconnect();
    r.adapter.send(frame(6));
    r.adapter.reconnect();
    r.adapter.send(frame(7));
    r.adapter.send(frame(1, { turn: 2, end: true }));
    r.clock.advanceMs(30);
    expect(r.story().slice(2)).toEqual([
      "30 1.1 lost 30000",
      "30 2.1 accepted 0",
      "30 2.1 started 0",
      "50 2.1 completed 20000",
    ]);
    expect(r.adapter.stats().refused.closed).toBe(2);
  });

  test("hanging up ends the microphone and loses what is open; afterwards nothing is left on the clock", () => {
    const r = rig();
    r.adapter.send(frame(1));
    r.clock.advanceMs(10);
    r.adapter.end();
    r.adapter.end();
    r.clock.advanceMs(100);
    expect(r.controls().at(-1)).toMatchObject({ signal: "ended", reason: "caller_hung_up", lastMediaSequence: 0 });
    expect(r.story().at(-1)).toBe("10 1.1 lost 10000");
    expect(r.clock.pending()).toBe(0);
    expect(() => r.adapter.endOfUtterance()).toThrow("hung up");
  });

  test("close lets what was sent play out, then tells; a fence still acts", () => {
    const closed: [string, number][] = [];
    const r = rig({ onClosed: (reason) => closed.push([reason, r.clock.nowNs() / 1e6]) });
    for (let s = 1; s <= 5; s++) r.adapter.send(frame(s, { end: s === 5 }));
    r.adapter.send({ kind: "close", epoch: 1, reason: "drained" });
    r.adapter.send(frame(1, { turn: 2 }));
    r.clock.advanceMs(50);
    expect(closed).toEqual([]);
    r.adapter.send(fence(1, 2));
    expect(closed).toEqual([["drained", 50]]);
    expect(r.audio()).toEqual([]);
    expect(r.clock.pending()).toBe(0);
    expect(r.adapter.stats().refused.closed).toBe(1);
  });

  test("before connect everything is refused", () => {
    const adapter = createLoopbackAdapter({ clock: new ManualClock(), epoch: 1 });
    adapter.send(frame(1));
    expect(adapter.refusals()).toMatchObject([{ reason: "closed" }]);
    expect(() => adapter.speak(new Int16Array(1))).toThrow("connected first");
    expect(() =>
      createLoopbackAdapter({ clock: new ManualClock(), epoch: 1, format: { ...FORMAT, channels: 2 } }),
    ).toThrow("mono");
  });
});

describe("codecs", () => {
  const tone = Int16Array.from({ length: 16_000 }, (_, i) =>
    Math.round(9_000 * Math.sin((2 * Math.PI * 440 * i) / 16_000)),
  );

  test.each(["opus", "mulaw", "alaw"] as const)(
    "F-023 F-090 a caller who sends %s is heard by the runtime as pcm_s16le with true metadata",
    async (name) => {
      const codec = await createCallerCodec(name);
      expect(codec.format.codec).toBe(name);
      const r = rig({ codec });
      r.adapter.speak(tone);
      r.clock.advanceMs(1_200);
      const frames = r.audio();
      expect(frames.every((f) => f.format.codec === "pcm_s16le" && f.format.rateHz === 16_000)).toBe(true);
      expect(frames.every((f) => f.bytes.length === 640)).toBe(true);
      expect(frames.map((f) => f.sequence)).toEqual(frames.map((_, i) => i + 1));
      expect(frames.map((f) => f.mediaUs)).toEqual(frames.map((_, i) => i * 20_000));
      expect(frames.length).toBeGreaterThanOrEqual(58);
      const heard = new Int16Array(frames.slice(5, 45).flatMap((f) => [...bytesToS16(f.bytes)]));
      expect(rms(heard)).toBeCloseTo(rms(tone), 1);
      expect(zeroCrossings(heard) / (heard.length / 16_000)).toBeCloseTo(880, -1.5);
      expect(r.adapter.stats().caller.transcoded).toBe(60);
      r.adapter.end();
    },
  );
});

function zeroCrossings(samples: Int16Array): number {
  let count = 0;
  for (let i = 1; i < samples.length; i++) if ((samples[i - 1] ?? 0) < 0 !== (samples[i] ?? 0) < 0) count++;
  return count;
}

describe("recordings", () => {
  test("reply.wav is what was heard, gaps included; the stereo file has the caller left and the agent right", async () => {
    const dir = await mkdtemp(join(tmpdir(), "loopback-"));
    try {
      const r = rig({ format: { ...FORMAT, rateHz: 8_000 } });
      r.adapter.speak(new Int16Array(320).fill(500), { atNs: ms(20) });
      r.clock.advanceMs(60);
      const half = { ...FORMAT, rateHz: 8_000 };
      r.adapter.send(frame(1, { format: half, samples: new Int16Array(160).fill(700), end: true }));
      r.clock.advanceMs(40);
      const { agent, agentRateHz, caller } = r.adapter.recording();
      await writeReplyWav(join(dir, "reply.wav"), agent, agentRateHz);
      await writeStereoWav(join(dir, "both.wav"), caller, agent, agentRateHz);
      const reply = parseWav(await readFile(join(dir, "reply.wav")));
      expect([reply.rateHz, reply.channels, reply.durationUs]).toEqual([8_000, 1, 100_000]);
      expect([...reply.samples].findIndex((v) => v !== 0)).toBe(480);
      const both = parseWav(await readFile(join(dir, "both.wav")));
      expect([both.rateHz, both.channels, both.durationUs]).toEqual([16_000, 2, 100_000]);
      expect(both.samples[2 * 330]).toBe(500);
      expect(both.samples[2 * 1_100]).toBe(0);
      expect(both.samples[2 * 1_100 + 1]).toBeGreaterThan(600);
    } finally {
      await rm(dir, { recursive: true });
    }
  });
});
