import type { TransportEgress } from "@rspp/ports/transport";
import { describe, expect, test } from "vitest";
import { TurnsSeen } from "./link-turns-seen.ts";

const head = { epoch: 1 } as const;
const signal = (name: string, turn: number, reason = ""): TransportEgress => ({
  ...head,
  kind: "control",
  signal: name,
  turn,
  reason,
});
const media = (turn: number, generation: number, end = false): TransportEgress => ({
  ...head,
  ...{ kind: "media", turn, generation, sequence: 1, offsetUs: 0, durationUs: 20_000, bytes: new Uint8Array(2), end },
  format: { codec: "pcm_s16le", rateHz: 16_000, channels: 1 },
});
const fence = (turn: number, generation: number, all: boolean, reason = "barge_in"): TransportEgress => ({
  ...head,
  ...{ kind: "fence", turn, generation, all, reason },
});

function seen(...messages: TransportEgress[]): TurnsSeen {
  const turns = new TurnsSeen();
  for (const message of messages) turns.heard(message);
  return turns;
}

describe("F-096 what an adapter tells a successor of the turns it saw", () => {
  test("the open turn with what was played of it, until that is over", () => {
    const turns = seen(signal("turn_open", 1), media(1, 1), signal("commit", 1));
    turns.said({ ...head, kind: "delivery", turn: 1, generation: 1, state: "progress", playedUs: 40_000 });
    expect(turns.open).toEqual({ turn: 1, generation: 1, playedUs: 40_000, committed: true, complete: false });
    turns.heard(media(1, 1, true));
    expect(turns.open?.complete).toBe(true);
    turns.said({ ...head, kind: "delivery", turn: 1, generation: 1, state: "completed", playedUs: 60_000 });
    expect([turns.open, turns.last]).toEqual([null, 1]);
  });

  test("a turn that the caller or the session itself ended is not open; one that lost its authority is", () => {
    expect(seen(signal("turn_open", 1), signal("abort", 1, "cancelled")).open).toBeNull();
    expect(seen(signal("turn_open", 1), fence(1, 2, false)).open).toBeNull();
    expect(seen(signal("turn_open", 1), fence(2, 1, true)).open).toBeNull();
    const lost = seen(
      signal("turn_open", 1),
      fence(1, 2, true, "authority_loss"),
      signal("abort", 1, "authority_loss"),
    );
    expect(lost.open).toMatchObject({ turn: 1, committed: true });
  });

  test("media names a turn whose opening was not heard; older turns open nothing again", () => {
    const turns = seen(media(2, 1), signal("turn_open", 1), media(1, 1));
    expect([turns.last, turns.open?.turn]).toEqual([2, 2]);
  });

  test("whether the caller is away or has muted himself, and how far the transport's own signals have come", () => {
    const turns = new TurnsSeen();
    const say = (name: string, sequence: number) =>
      turns.said({ ...head, kind: "control", sequence, signal: name, controlClass: "overtaking" });
    say("connected", 1);
    say("mute", 2);
    say("reconnecting", 3);
    expect([turns.muted, turns.away, turns.controlSeen]).toEqual([true, true, 3]);
    say("connected", 4);
    say("unmute", 5);
    expect([turns.muted, turns.away, turns.controlSeen]).toEqual([false, false, 5]);
  });
});
