import { asMonoNs, msToNs } from "@rspp/base/brand";
import type { TransportEgress } from "@rspp/ports/transport";
import { limits as protocol } from "@rspp/protocol/limits";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Heard } from "./link-heard.ts";
import { limits } from "./link-limits.ts";
import { PartJoiner, partIn, partsOf } from "./link-parts.ts";
import { type Kept, Replay } from "./link-replay.ts";
import { type Audio, Resend } from "./link-resend.ts";

const FORMAT = { codec: "pcm_s16le", rateHz: 16_000, channels: 1 } as const;
const at = asMonoNs(0);

type Media = Extract<TransportEgress, { kind: "media" }>;

function media(turn: number, generation: number, sequence: number, bytes = 640): Media {
  const where = { turn, generation, sequence, offsetUs: 0, durationUs: 20_000, end: false };
  return { kind: "media", epoch: 1, ...where, format: FORMAT, bytes: new Uint8Array(bytes) };
}

function text(n: number): TransportEgress {
  return { kind: "text", epoch: 1, turn: 1, role: "user", text: `w${n}`, final: true, segment: n, revision: 0 };
}

function frame(sequence: number): Audio {
  const place = { sequence, mediaUs: sequence * 20_000, durationUs: 20_000 };
  return { kind: "audio", epoch: 1, ...place, format: FORMAT, bytes: new Uint8Array(640) };
}

describe("what the runtime says again", () => {
  const record = (replay: Replay, message: Kept["message"], linkSeq: number): Kept => {
    const kept = replay.record(message, at);
    kept.linkSeq = linkSeq;
    return kept;
  };

  test("F-158 what was not acted on, each lane by itself, and all that follows it", () => {
    const replay = new Replay("s-1", "t");
    for (let n = 1; n <= 10; n++) record(replay, media(1, 0, n), n);
    for (let n = 1; n <= 5; n++) record(replay, text(n) as Kept["message"], n + 1);
    const unsent = replay.record(media(1, 0, 11), at);
    replay.detached({ control: 4, data: 7, telemetry: 0 }, at);
    const again = replay.attach("t", 0, at);
    const said = again?.entries.map(({ message }) =>
      "sequence" in message ? message.sequence : "text" in message ? message.text : "",
    );
    expect(said).toEqual([8, 9, 10, "w4", "w5", 11]);
    expect(again?.entries.at(-1)).toBe(unsent);
    expect(again?.entries.every((kept) => kept.linkSeq === 0)).toBe(true);
    // Asked a second time, because the new pair died before it had acted on anything: the same.
    replay.detached({ control: 0, data: 0, telemetry: 0 }, at);
    expect(replay.attach("t", 0, at)?.entries.length).toBe(6);
  });

  test("what a fence cuts is not said again, and what was never to be sent is not either", () => {
    const replay = new Replay("s-1", "t");
    record(replay, media(1, 0, 1), 0);
    record(replay, media(1, 1, 2), -1);
    record(replay, { kind: "fence", epoch: 1, turn: 1, generation: 1, all: false, reason: "barge_in" }, 0);
    record(replay, media(1, 1, 3), 0);
    replay.detached({ control: 0, data: 0, telemetry: 0 }, at);
    const kinds = replay
      .attach("t", 0, at)
      ?.entries.map(({ message }) => [message.kind, "sequence" in message && message.sequence]);
    expect(kinds).toEqual([
      ["fence", false],
      ["media", 3],
    ]);
  });

  test("the turn goes on when both ends saw the same one open; another token gets nothing", () => {
    const replay = new Replay("s-1", "t");
    record(replay, { kind: "control", epoch: 1, signal: "turn_open", turn: 4, reason: "" }, 2);
    expect(replay.openTurn).toBe(4);
    replay.detached({ control: 2, data: 0, telemetry: 0 }, at);
    expect(replay.attach("other", 4, at)).toBe(null);
    expect(replay.attach("t", 4, at)?.turnContinues).toBe(true);
    replay.detached({ control: 0, data: 0, telemetry: 0 }, at);
    expect(replay.attach("t", 3, at)?.turnContinues).toBe(false);
  });

  test("it is bounded: when more was missed than is kept, nobody goes on", () => {
    const replay = new Replay("s-1", "t");
    for (let n = 1; n <= protocol.REPLAY_ITEMS_MAX + 1; n++) record(replay, media(1, 0, n), n);
    replay.detached({ control: 0, data: 0, telemetry: 0 }, at);
    expect(replay.attach("t", 0, at)).toBe(null);
    const old = new Replay("s-1", "t");
    record(old, text(1) as Kept["message"], 2);
    const later = asMonoNs(msToNs(protocol.REPLAY_AGE_MS + 1));
    old.detached({ control: 0, data: 0, telemetry: 0 }, later);
    expect(old.attach("t", 0, later)).toBe(null);
    const sparse = new Replay("s-1", "t");
    record(sparse, text(1) as Kept["message"], 2);
    sparse.record(text(2) as Kept["message"], later, { control: 2, data: 0, telemetry: 0 });
    sparse.detached({ control: 2, data: 0, telemetry: 0 }, later);
    expect(sparse.attach("t", 0, later)?.entries.length).toBe(1);
    // What was acted on and trimmed may be as old as it likes.
    const acted = new Replay("s-1", "t");
    for (let n = 1; n <= 3 * protocol.REPLAY_ITEMS_MAX; n++) {
      const kept = acted.record(media(1, 0, n), at, { control: 0, data: n - 1, telemetry: 0 });
      kept.linkSeq = n;
    }
    acted.detached({ control: 0, data: 3 * protocol.REPLAY_ITEMS_MAX, telemetry: 0 }, at);
    expect(acted.attach("t", 0, at)?.entries).toEqual([]);
  });
});

describe("what the adapter says again", () => {
  test("audio and signals in the order in which they were said, after what the runtime has", () => {
    const resend = new Resend();
    for (let n = 1; n <= 3; n++) resend.audio(frame(n)).linkSeq = n;
    const signal = (sequence: number, lastMediaSequence: number) =>
      resend.signal({
        kind: "control",
        epoch: 1,
        sequence,
        signal: "end_of_utterance",
        controlClass: "positioned",
        lastMediaSequence,
      });
    signal(1, 3);
    for (let n = 6; n <= 8; n++) resend.audio(frame(n));
    signal(2, 7);
    signal(3, 8);
    const rest = resend.after(1, 3)?.map((kept) => kept.message);
    expect(rest?.map((m) => `${m.kind} ${"sequence" in m ? m.sequence : ""}`)).toEqual([
      "audio 6",
      "audio 7",
      "control 2",
      "audio 8",
      "control 3",
    ]);
    expect(resend.after(0, 0)).toBe(null);
    expect(resend.lastNumber).toBe(3);
  });

  test("what the runtime acted on is forgotten at once, so that little is kept while the pair lives", () => {
    const resend = new Resend();
    for (let n = 1; n <= 2_000; n++) {
      resend.audio(frame(n)).linkSeq = n;
      resend.trim({ control: 0, data: n - 5, telemetry: 0 });
    }
    expect(resend.availableMs).toBe(5 * 20);
    expect(resend.lostUpTo).toBe(0);
  });

  test("a frame that cannot be said holds nothing back", () => {
    const resend = new Resend();
    resend.audio(frame(1)).linkSeq = -1;
    resend.audio(frame(2)).linkSeq = 1;
    resend.trim({ control: 0, data: 1, telemetry: 0 });
    expect(resend.availableMs).toBe(0);
  });

  test("signals are bounded: of what was sent the oldest goes, what waits is never dropped in silence", () => {
    const resend = new Resend();
    const report = { kind: "observe", kinds: [] } as const;
    for (let n = 1; n <= limits.LINK_CONTROL_KEPT_MAX + 10; n++) {
      const kept = resend.signal(report);
      if (kept !== null) kept.linkSeq = n + 1;
    }
    expect(resend.after(5, 0)).toBe(null);
    const waiting = new Resend();
    for (let n = 1; n <= limits.LINK_CONTROL_KEPT_MAX; n++) expect(waiting.signal(report)).not.toBe(null);
    expect(waiting.signal(report)).toBe(null);
  });

  test("a signal taken back gives its number to the next", () => {
    const resend = new Resend();
    const report = { kind: "observe", kinds: [] } as const;
    const first = resend.signal(report);
    const second = resend.signal(report);
    expect(first && resend.takeBack(first)).toBe(false);
    expect(second && resend.takeBack(second)).toBe(true);
    expect(resend.signal(report)?.number).toBe(2);
  });
});

describe("repeats at the adapter", () => {
  test("F-158 any order of repeats: each frame is heard once, in order of its generation", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 1, max: 3 }), fc.nat(2), fc.integer({ min: 1, max: 6 })), {
          maxLength: 80,
        }),
        (says) => {
          const heard = new Heard();
          const taken = new Set<string>();
          for (const [turn, generation, sequence] of says) {
            if (!heard.isNew(media(turn, generation, sequence))) continue;
            const key = `${turn}/${generation}/${sequence}`;
            expect(taken.has(key)).toBe(false);
            taken.add(key);
          }
        },
      ),
    );
  });

  test("events by number, each class by itself; a fence by what it says", () => {
    const heard = new Heard();
    expect([1, 3, 2, 3, 4].map((n) => heard.isNewEvent(n, false))).toEqual([true, true, false, false, true]);
    expect(heard.isNewEvent(2, true)).toBe(true);
    expect([heard.isNewEvent(0, false), heard.isNewEvent(0, false)]).toEqual([true, true]);
    const fence = { kind: "fence", epoch: 1, turn: 1, generation: 2, all: false, reason: "barge_in" } as const;
    expect([heard.isNew(fence), heard.isNew(fence), heard.isNew({ ...fence, generation: 3 })]).toEqual([
      true,
      false,
      true,
    ]);
  });
});

describe("frames in parts", () => {
  test("any frame comes together again; one that misses a part is lost, the next is not", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 1_400_000 }),
        fc.integer({ min: 0, max: 10_000_000 }),
        fc.boolean(),
        fc.nat(40),
        (size, durationUs, end, drop) => {
          const whole = { ...media(1, 0, 7, size), durationUs, end };
          whole.bytes.forEach((_, i) => {
            if (i % 997 === 0) whole.bytes[i] = i % 251;
          });
          const parts = partsOf({ ...whole, bytes: size === 0 ? new Uint8Array(1) : whole.bytes }) ?? [];
          expect(parts.length).toBeLessThanOrEqual(limits.LINK_PARTS_MAX);
          for (const { media: part } of parts) {
            expect(part.bytes.byteLength).toBeLessThanOrEqual(protocol.LINK_EVENT_BYTES_MAX);
            expect(part.durationUs).toBeLessThanOrEqual(protocol.LINK_EVENT_AUDIO_US_MAX);
          }
          const joiner = new PartJoiner();
          const take = (list: typeof parts) =>
            list.map(({ media: part, eventId }) =>
              joiner.take(part, partIn({ eventId } as never)?.part ?? { index: 0, count: 1 }),
            );
          const lossy = parts.filter((_, i) => i !== drop);
          if (parts.length > 1 && lossy.length < parts.length)
            expect(take(lossy).every((it) => it === null)).toBe(true);
          const joinedFrame = take(parts).at(-1);
          expect(joinedFrame).toEqual({ ...whole, bytes: size === 0 ? new Uint8Array(1) : whole.bytes });
        },
      ),
      { numRuns: 12 },
    );
  });

  test("ids of other forms are no parts", () => {
    for (const eventId of ["r-1", "p-1-2", "p-1-3-3", "p-1-0-900", "p-x-0-2", ""])
      expect(partIn({ eventId } as never)).toBe(null);
    expect(partsOf(media(1, 0, 1, 49_152 * 33))).toBe(null);
  });
});
