/** Every legal message of a session, both ways; sequences are 0 and to be set by whoever sends them. */
import type { TransportEgress, TransportIngress } from "@rspp/ports/transport";
import fc from "fast-check";
import { FORMAT } from "./remote-session-rig.ts";

const uint32 = fc.integer({ min: 0, max: 0xffff_ffff });
const turn = fc.oneof(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 65_530, max: 0xffff_ffff }));
const us = fc.oneof(
  fc.integer({ min: 0, max: 1e6 }).map((n) => n * 125),
  fc.nat(2 ** 52),
);
const bytes = fc.uint8Array({ minLength: 1, maxLength: 1_280 });
const format = fc.oneof(
  fc.constant(FORMAT),
  fc.record({
    codec: fc.constantFrom("pcm_s16le" as const, "mulaw" as const, "opus" as const),
    rateHz: fc.constantFrom(8_000, 24_000, 48_000),
    channels: fc.constantFrom(1, 2),
  }),
);
const durationUs = fc.integer({ min: 0, max: 20_000 });
const word = fc.constantFrom(
  "user_cancel",
  "connection_lost",
  "ended_by_caller",
  "something of its own",
  "drop_oldest",
);
const namespaced = fc.dictionary(
  fc.constantFrom("dtmf.digit", "sip.header", "acme.note"),
  fc.string({ maxLength: 20 }),
  {
    minKeys: 1,
    noNullPrototype: true,
  },
);

export function ingressOf(epoch: number): fc.Arbitrary<TransportIngress> {
  return fc.oneof(
    fc.record(
      {
        kind: fc.constant("audio" as const),
        epoch: fc.constant(epoch),
        sequence: fc.constant(0),
        mediaUs: us,
        durationUs,
        format,
        bytes,
        idempotencyKey: fc.stringMatching(/^[a-z0-9]{1,20}$/),
      },
      { requiredKeys: ["kind", "epoch", "sequence", "mediaUs", "durationUs", "format", "bytes"] },
    ),
    fc.record({
      kind: fc.constant("control" as const),
      epoch: fc.constant(epoch),
      sequence: fc.constant(0),
      signal: fc.constantFrom("end_of_utterance", "mute", "unmute"),
      controlClass: fc.constant("positioned" as const),
      lastMediaSequence: fc.nat(1_000),
    }),
    fc.record(
      {
        kind: fc.constant("control" as const),
        epoch: fc.constant(epoch),
        sequence: fc.constant(0),
        signal: fc.constantFrom("connected", "reconnecting", "disconnected", "silence", "muted"),
        controlClass: fc.constantFrom("overtaking" as const, "positioned" as const),
        reason: word,
        idempotencyKey: fc.stringMatching(/^[a-z0-9]{1,20}$/),
      },
      { requiredKeys: ["kind", "epoch", "sequence", "signal", "controlClass"] },
    ),
    fc.record({
      kind: fc.constant("control" as const),
      epoch: fc.constant(epoch),
      sequence: fc.constant(0),
      signal: fc.constantFrom("stop", "cancel", "barge_in"),
      controlClass: fc.constant("overtaking" as const),
      reason: word,
      turn: turn,
      fields: fc.constant({ scope: "turn" }),
    }),
    fc.record({
      kind: fc.constant("control" as const),
      epoch: fc.constant(epoch),
      sequence: fc.constant(0),
      signal: fc.constantFrom("dtmf", "transport_signal"),
      controlClass: fc.constant("positioned" as const),
      lastMediaSequence: fc.nat(1_000),
      fields: namespaced,
    }),
    reportOf(epoch),
  );
}

/** What was played. */
function reportOf(epoch: number): fc.Arbitrary<TransportIngress> {
  return fc.oneof(
    fc.record({
      kind: fc.constant("delivery" as const),
      epoch: fc.constant(epoch),
      turn,
      generation: uint32,
      state: fc.constantFrom("accepted", "started", "progress", "completed", "cancelled", "lost"),
      playedUs: fc.nat(Number.MAX_SAFE_INTEGER),
    }),
    fc.record({
      kind: fc.constant("fence_ack" as const),
      epoch: fc.constant(epoch),
      turn,
      generation: uint32,
      playedUs: fc.nat(Number.MAX_SAFE_INTEGER),
      flushed: uint32,
    }),
  );
}

export function egressOf(epoch: number): fc.Arbitrary<TransportEgress> {
  const reason = fc.constantFrom("barge_in", "user_cancel", "timeout");
  return fc.oneof(
    fc.record({
      kind: fc.constant("media" as const),
      epoch: fc.constant(epoch),
      turn: fc.constantFrom(3, 70_000),
      generation: fc.constant(1),
      sequence: fc.constant(0),
      offsetUs: us,
      durationUs,
      format,
      bytes,
      end: fc.boolean(),
    }),
    fc.record({
      kind: fc.constant("media" as const),
      epoch: fc.constant(epoch),
      turn: fc.constant(0),
      generation: fc.constant(0),
      sequence: fc.constant(0),
      offsetUs: us,
      durationUs: fc.constant(0),
      format,
      bytes: fc.constant(new Uint8Array(0)),
      end: fc.constant(true),
    }),
    fc.record({
      kind: fc.constant("control" as const),
      epoch: fc.constant(epoch),
      signal: fc.constantFrom("turn_open", "close"),
      turn,
      reason: fc.constant(""),
    }),
    fc.record({
      kind: fc.constant("control" as const),
      epoch: fc.constant(epoch),
      signal: fc.constantFrom("output_hold", "output_resume", "abort"),
      turn,
      reason: word,
    }),
    fc.record({
      kind: fc.constant("control" as const),
      epoch: fc.constant(epoch),
      signal: fc.constant("commit"),
      turn,
      reason: fc.constant(""),
      fields: fc.record({ lastDataSequence: fc.nat(9_999), heardAs: fc.string({ maxLength: 9 }) }),
    }),
    fc.record({
      kind: fc.constant("text" as const),
      epoch: fc.constant(epoch),
      turn: fc.oneof(turn, fc.constant(0)),
      role: fc.constantFrom("user" as const, "assistant" as const),
      text: fc.string({ unit: "grapheme", maxLength: 400 }),
      final: fc.boolean(),
      segment: fc.nat(100_000),
      revision: fc.nat(100_000),
    }),
    fc.record({
      kind: fc.constant("fence" as const),
      epoch: fc.constant(epoch),
      turn: fc.constantFrom(1, 2),
      generation: fc.integer({ min: 1, max: 0xffff_ffff }),
      all: fc.constant(false),
      reason,
    }),
  );
}
