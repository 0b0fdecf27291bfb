import { create } from "@bufbuild/protobuf";
import { type LinkEvent, LinkEventSchema } from "@rspp/gen/rspp/runtime/v1/link_pb";
import type { EventFrame } from "@rspp/protocol/link-types";
import fc from "fast-check";
import { expect, test } from "vitest";
import { LinkOutbox, outboxItem } from "./link-outbox.ts";

const costUs = 20_000;
const costBytes = 640;

function encodeSkip(skip: { ref: number; seq: number; toSeq: number }): LinkEvent {
  return create(LinkEventSchema, {
    sessionRef: skip.ref,
    sequence: skip.seq,
    skipToSequence: skip.toSeq,
    skipReason: 1,
  });
}

/** The sender of one session: gives sequences and totals as the link machine does. */
class Sender {
  seq = 0;
  sentAudioUs = 0;
  sentBytes = 0;
  readonly ref: number;

  constructor(ref: number) {
    this.ref = ref;
  }

  next(turn: number) {
    this.sentAudioUs += costUs;
    this.sentBytes += costBytes;
    const { ref, sentAudioUs, sentBytes } = this;
    const frame: EventFrame<null> = {
      kind: "event",
      ref,
      lane: "data",
      seq: ++this.seq,
      turn,
      generation: 0,
      audioUs: costUs,
      bytes: costBytes,
      sentAudioUs,
      sentBytes,
      payload: null,
    };
    const event = create(LinkEventSchema, {
      sessionRef: ref,
      lane: 2,
      sequence: frame.seq,
      turnNumber: turn,
      sentAudioUs,
      sentBytes,
    });
    return outboxItem(frame, event);
  }
}

const action = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant("send" as const), ref: fc.nat({ max: 2 }), turn: fc.nat({ max: 3 }) }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("take" as const), items: fc.integer({ min: 1, max: 8 }) }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("fence" as const), ref: fc.nat({ max: 2 }), turn: fc.nat({ max: 3 }) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("overflow" as const), keep: fc.nat({ max: 8 }) }) },
);

test("whatever is dropped, sequences have no holes, order is kept, and totals are those of what was sent", () => {
  fc.assert(
    fc.property(fc.array(action, { maxLength: 200 }), (actions) => {
      const outbox = new LinkOutbox(encodeSkip);
      const senders = [0, 1, 2].map((ref) => new Sender(ref));
      const wire: LinkEvent[] = [];
      const settle = (drops: ReturnType<LinkOutbox["drop"]>): void => {
        for (const { ref, audioUs, bytes } of drops) {
          const sender = senders[ref]!;
          sender.sentAudioUs -= audioUs;
          sender.sentBytes -= bytes;
        }
      };
      for (const act of actions) {
        if (act.kind === "send") outbox.push(senders[act.ref]!.next(act.turn));
        else if (act.kind === "take") wire.push(...outbox.take(act.items, 10_000).events);
        else if (act.kind === "fence") settle(outbox.drop("fenced", (i) => i.ref === act.ref && i.turn === act.turn));
        else settle(outbox.dropOldest(act.keep * (costBytes + 48), "overflow"));
      }
      while (outbox.size > 0) wire.push(...outbox.take(256, 10_000).events);
      expect(outbox.bytes).toBe(0);
      for (const sender of senders) {
        let next = 1;
        let total = 0;
        for (const event of wire.filter((e) => e.sessionRef === sender.ref)) {
          expect(event.sequence).toBe(next);
          if (event.skipToSequence === 0) {
            total++;
            expect([event.sentAudioUs, event.sentBytes]).toEqual([total * costUs, total * costBytes]);
          }
          next = Math.max(event.sequence, event.skipToSequence) + 1;
        }
        expect(next).toBe(sender.seq + 1);
        expect(sender.sentAudioUs).toBe(total * costUs);
      }
    }),
    { numRuns: 300 },
  );
});
