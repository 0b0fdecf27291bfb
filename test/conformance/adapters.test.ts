/** The same questions to every adapter (F-086): ingress, delivery reports in media time, fences, epochs, ends. */
import type { TransportIngress } from "@rspp/ports/transport";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../integration/websocket-rig.ts";
import { type Adapter, type Line, media } from "./adapter.ts";
import { overLink } from "./link.ts";
import { livekit } from "./livekit.ts";
import { loopback } from "./loopback.ts";
import { realtime } from "./realtime.ts";
import { telephony } from "./telephony.ts";
import { websocket } from "./websocket.ts";

type Of<K extends TransportIngress["kind"]> = Extract<TransportIngress, { kind: K }>;

const of = <K extends TransportIngress["kind"]>(line: Line, kind: K): Of<K>[] =>
  line.received().filter((message): message is Of<K> => message.kind === kind);
const states = (line: Line, turn: number): string[] =>
  of(line, "delivery").flatMap((d) => (d.turn === turn ? [d.state] : []));
const speech = (frames: number): Int16Array[] =>
  Array.from({ length: frames }, (_, i) => new Int16Array(320).fill(1_000 + i));
const voiced = (line: Line): Of<"audio">[] => of(line, "audio").filter(({ bytes }) => bytes.some((byte) => byte !== 0));

const adapters: readonly (readonly [string, () => Adapter | Promise<Adapter>])[] = [
  ["loopback", loopback],
  ["loopback over a link", overLink],
  ["websocket, binary", () => websocket("binary")],
  ["websocket, json", () => websocket("json")],
  ["telephony", telephony],
  ["livekit", livekit],
  ["realtime", realtime],
];

describe.each(adapters)("F-086 the contract of adapters: %s", (_name, make) => {
  let adapter: Adapter;
  let count = 0;

  beforeAll(async () => {
    adapter = await make();
  });
  afterAll(() => adapter.close());

  async function call(work: (line: Line) => Promise<void>): Promise<void> {
    count += 1;
    const line = await adapter.open(`conformance-${count}`);
    try {
      await work(line);
    } finally {
      await line.close();
    }
  }

  test("a caller is connected first; frames are 20 ms of 16 kHz mono, numbered from 1 without a gap, on one time line", () =>
    call(async (line) => {
      line.speak(speech(25));
      await until(() => voiced(line).length >= 25, "the words");
      expect(line.received()[0]).toMatchObject({
        kind: "control",
        signal: "connected",
        controlClass: "overtaking",
        epoch: line.epoch,
      });
      const audio = of(line, "audio");
      expect(audio.map((a) => a.sequence)).toEqual(audio.map((_, i) => i + 1));
      expect(audio.map((a) => a.mediaUs)).toEqual(audio.map((_, i) => (audio[0]?.mediaUs ?? 0) + i * 20_000));
      for (const { format, durationUs, bytes, epoch } of audio) {
        expect({ format, durationUs, bytes: bytes.byteLength, epoch }).toEqual({
          format: { codec: "pcm_s16le", rateHz: 16_000, channels: 1 },
          durationUs: 20_000,
          bytes: 640,
          epoch: line.epoch,
        });
      }
      const samples = voiced(line).map(({ bytes }) => new Int16Array(bytes.slice().buffer)[319] ?? 0);
      if (adapter.lossy === true) {
        // Eight bits, and a filter: nothing is lost or doubled, and none is louder or softer than it was.
        for (const sample of samples.slice(2, 24)) expect(Math.abs(sample - 1_012)).toBeLessThan(100);
      } else expect(samples).toEqual(speech(25).map((frame) => frame[319]));
    }));

  test("an end of utterance keeps its place: after every word said before it", () =>
    call(async (line) => {
      line.speak(speech(10));
      await until(() => voiced(line).length >= 10, "the words");
      const signal = adapter.buttons === false ? "dtmf" : "end_of_utterance";
      if (adapter.buttons === false) line.press?.("5");
      else line.endOfUtterance();
      const isEnd = (m: TransportIngress) => m.kind === "control" && m.signal === signal;
      await until(() => line.received().some(isEnd), "the signal");
      const end = line.received().find(isEnd);
      const last = voiced(line).at(-1)?.sequence ?? 0;
      expect(end).toMatchObject({ controlClass: "positioned" });
      expect(end?.kind === "control" && (end.lastMediaSequence ?? 0) >= last).toBe(true);
    }));

  test("a reply is reported in media time: accepted, started, never backwards, completed with all of it", () =>
    call(async (line) => {
      for (const frame of media(line.epoch, 1, 1, 15, { end: true })) line.send(frame);
      await until(() => states(line, 1).includes("completed"), "the delivery");
      const reports = of(line, "delivery");
      expect(states(line, 1)[0]).toBe("accepted");
      expect(states(line, 1).filter((s) => s !== "progress")).toEqual(["accepted", "started", "completed"]);
      const played = reports.map((r) => r.playedUs);
      expect(played).toEqual([...played].sort((a, b) => a - b));
      expect(reports.at(-1)).toMatchObject({ turn: 1, generation: 0, playedUs: 300_000, epoch: line.epoch });
      expect(line.heardUs(1)).toBe(300_000);
    }));

  test("a fence empties what waits, says what was heard, and nothing below it is heard afterwards", () =>
    call(async (line) => {
      for (const frame of media(line.epoch, 1, 1, 100)) line.send(frame);
      await until(() => line.heardUs(1) >= 100_000, "the sound");
      line.send({ kind: "fence", epoch: line.epoch, turn: 1, generation: 1, all: true, reason: "barge_in" });
      await until(() => of(line, "fence_ack").length > 0, "the acknowledgement");
      const [ack] = of(line, "fence_ack");
      const heardAtAck = line.heardUs(1);
      expect(ack).toMatchObject({ turn: 1, generation: 1, epoch: line.epoch });
      expect(ack?.playedUs).toBeGreaterThanOrEqual(60_000);
      expect(ack?.playedUs).toBeLessThan(1_500_000);
      expect(ack?.flushed).toBeGreaterThan(0);
      for (const frame of media(line.epoch, 1, 101, 5)) line.send(frame);
      for (const frame of media(line.epoch, 2, 1, 5, { end: true })) line.send(frame);
      await until(() => states(line, 2).includes("completed"), "the next turn");
      // A frame that had begun is heard to its end.
      expect(line.heardUs(1) - heardAtAck).toBeLessThanOrEqual(20_000);
      expect(line.heardUs(2)).toBe(100_000);
      const late = of(line, "delivery").filter((d) => d.turn === 1 && d.state === "completed");
      expect(late).toEqual([]);
    }));

  test("a newer epoch is believed alone: what an older holder says is not heard, the caller is heard under the new one", () =>
    call(async (line) => {
      expect(await line.raiseEpoch(line.epoch + 2)).toBe(true);
      expect(await line.raiseEpoch(line.epoch + 1)).toBe(false);
      for (const frame of media(line.epoch, 1, 1, 5, { end: true })) line.send(frame);
      for (const frame of media(line.epoch + 2, 2, 1, 5, { end: true })) line.send(frame);
      await until(() => states(line, 2).includes("completed"), "the new holder's reply");
      expect([line.heardUs(1), line.heardUs(2)]).toEqual([0, 100_000]);
      expect(states(line, 1)).toEqual([]);
      line.speak(speech(3));
      await until(() => voiced(line).length >= 3, "the words");
      expect(new Set(voiced(line).map((a) => a.epoch))).toEqual(new Set([line.epoch + 2]));
    }));

  test("stop overtakes; whoever hangs up is told as ended, once, and nothing sent later does harm", () =>
    call(async (line) => {
      const signals = (): string[] => of(line, "control").map((c) => c.signal);
      if (adapter.buttons !== false) {
        line.stop();
        await until(() => signals().includes("stop"), "stop");
        expect(of(line, "control").find((c) => c.signal === "stop")).toMatchObject({ controlClass: "overtaking" });
      }
      line.hangUp();
      await until(() => signals().includes("ended"), "the end");
      for (const frame of media(line.epoch, 1, 1, 3, { end: true })) line.send(frame);
      expect(signals().filter((s) => s === "ended")).toHaveLength(1);
      expect(line.heardUs(1)).toBe(0);
    }));

  test("control numbers rise from 1 over both classes", () =>
    call(async (line) => {
      if (adapter.buttons === false) line.press?.("12");
      else {
        line.stop();
        line.endOfUtterance();
      }
      await until(() => of(line, "control").length >= 3, "the signals");
      const numbers = of(line, "control").map((c) => c.sequence);
      expect(numbers).toEqual(numbers.map((_, i) => i + 1));
    }));
});
