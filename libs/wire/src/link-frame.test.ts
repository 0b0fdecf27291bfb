import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Reason } from "@rspp/gen/rspp/common/v1/reason_pb";
import {
  DeliveryReportSchema,
  DeliveryStep,
  LinkControlFrameSchema,
  LinkEventSchema,
  LinkPingSchema,
  RaiseFenceSchema,
} from "@rspp/gen/rspp/runtime/v1/link_pb";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { constants, eventInit, payloads } from "./arbitrary.test.ts";
import type { LinkSender } from "./binding.ts";
import { bindToWire } from "./binding.ts";
import { type BindingTable, bindingTableCreate, tableBind, tableUnbind } from "./binding-table.ts";
import { signalClass } from "./control.ts";
import { toEnvelope } from "./envelope.ts";
import type { LinkPayload } from "./link-control.ts";
import {
  type Arrived,
  controlFrameFromWire,
  eventCost,
  frameToWire,
  mediaFromWire,
  type WireFrame,
} from "./link-frame.ts";
import { describeError, type WireError } from "./wire-error.ts";
import type { EventInit } from "./wire-event.ts";

const base = 1_790_000_000_000;

function value<T>(result: { ok: true; value: T } | { ok: false; error: WireError }): T {
  if (!result.ok) throw new Error(describeError(result.error));
  return result.value;
}

function bound(): BindingTable {
  const table = bindingTableCreate();
  value(tableBind(table, value(bindToWire(1, constants, base, null))));
  return table;
}
const table = bound();

/** Over the wire as bytes. */
function through(frame: WireFrame, sender: LinkSender, at: BindingTable = table): Arrived {
  const message = value(frameToWire(table, sender, frame, base));
  if (message.connection === "media") {
    return value(mediaFromWire(at, sender, fromBinary(LinkEventSchema, toBinary(LinkEventSchema, message.event))));
  }
  const bytes = toBinary(LinkControlFrameSchema, message.frame);
  return value(controlFrameFromWire(at, sender, fromBinary(LinkControlFrameSchema, bytes)));
}

function payloadOf(init: EventInit, transportSequence: number): LinkPayload {
  return { kind: "event", envelope: value(toEnvelope(constants, { ...init, transportSequence })) };
}

const cutoff = { turn: 3, generation: 2, olderTurns: true };
const fence: LinkPayload = {
  kind: "overtaking",
  message: { case: "fence", value: create(RaiseFenceSchema, { reason: Reason.BARGE_IN, authorityEpoch: 7n }) },
};
const delivery: LinkPayload = {
  kind: "positioned",
  message: {
    case: "delivery",
    value: create(DeliveryReportSchema, {
      turnNumber: 3,
      step: DeliveryStep.STARTED,
      playedUs: 5n,
      authorityEpoch: 7n,
    }),
  },
};

describe("frames of the link machine", () => {
  const { tenant, session, pipelineVersion, epoch, codec, sampleRateHz, channels } = constants;
  const plain: WireFrame[] = [
    {
      kind: "bind",
      ref: 1,
      constants: { tenant, session, pipelineVersion, epoch, codec, sampleRateHz, channels },
      supersedes: null,
    },
    { kind: "bound", ref: 1 },
    { kind: "break", ref: 1, reason: "credit_violation" },
    {
      kind: "receipts",
      entries: [
        { ref: 1, grantedAudioUs: 6_000_000, grantedBytes: 600_000, acked: { control: 1, data: 2, telemetry: 3 } },
      ],
    },
    { kind: "unbind", ref: 1, seq: 4, lastMediaSeq: 9, reason: "draining" },
    { kind: "skip", ref: 1, lane: "data", seq: 4, toSeq: 9, reason: "fenced" },
    { kind: "overtaking", ref: 1, seq: 2, cutoff, payload: fence },
    { kind: "positioned", ref: 1, seq: 3, lastMediaSeq: 8, payload: delivery },
  ];

  test.each(plain.map((frame) => [frame.kind, frame] as const))("%s comes back as it was", (_kind, frame) => {
    expect(through(frame, "adapter")).toEqual({ kind: "frame", frame });
  });

  test("any event of the media lanes comes back with its place, its totals and its cost", () => {
    const media = fc.oneof(payloads.audio, payloads.text, payloads.metrics, payloads.debug, payloads.opaque);
    fc.assert(
      fc.property(eventInit(media), fc.constantFrom<LinkSender>("adapter", "runtime"), (init, sender) => {
        const payload = payloadOf(init, sender === "adapter" ? 5 : 0);
        if (payload.kind !== "event") return;
        const frame: WireFrame = {
          kind: "event",
          ref: 1,
          lane: ["metrics", "debug"].includes(init.payload.kind) ? "telemetry" : "data",
          seq: 5,
          turn: init.turn === undefined || init.turn === 0 ? null : init.turn,
          generation: init.generation ?? 0,
          ...eventCost(payload.envelope),
          sentAudioUs: 90_000,
          sentBytes: 4_096,
          payload,
        };
        expect(through(frame, sender)).toEqual({ kind: "frame", frame });
      }),
      { numRuns: 300 },
    );
  });

  test("any control signal, text or error comes back from its class", () => {
    const events = fc.oneof(payloads.control, payloads.text, payloads.error);
    fc.assert(
      fc.property(eventInit(events), fc.constantFrom<LinkSender>("adapter", "runtime"), (init, sender) => {
        const payload = payloadOf(init, sender === "adapter" ? 5 : 0);
        const overtakes = init.payload.kind === "control" && signalClass(init.payload.signal) === "overtaking";
        const frame: WireFrame = overtakes
          ? { kind: "overtaking", ref: 1, seq: 5, cutoff, payload }
          : { kind: "positioned", ref: 1, seq: 5, lastMediaSeq: 8, payload };
        expect(through(frame, sender)).toEqual({ kind: "frame", frame });
      }),
      { numRuns: 300 },
    );
  });

  test("what belongs to the other class or connection is refused, not repaired", () => {
    const audio = payloadOf(fc.sample(eventInit(payloads.audio), { numRuns: 1, seed: 5 })[0]!, 0);
    const wrong: WireFrame[] = [
      { kind: "overtaking", ref: 1, seq: 1, cutoff, payload: delivery },
      { kind: "positioned", ref: 1, seq: 1, lastMediaSeq: 0, payload: fence },
      { kind: "positioned", ref: 1, seq: 1, lastMediaSeq: 0, payload: audio },
    ];
    for (const frame of wrong) {
      const result = frameToWire(table, "runtime", frame, base);
      expect(result.ok ? "accepted" : describeError(result.error)).toContain("link.control_class");
    }
    const control = create(LinkEventSchema, { sessionRef: 1, lane: 1, sequence: 1 });
    const result = mediaFromWire(table, "adapter", control);
    expect(result.ok ? "accepted" : describeError(result.error)).toContain("lane");
  });

  test("more than one cut-off, and a drop without range or reason, are refused", () => {
    const message = value(frameToWire(table, "runtime", plain[6]!, base));
    if (message.connection !== "control" || message.frame.frame.case !== "overtaking") throw new Error("other frame");
    message.frame.frame.value.cutoffs.push(message.frame.frame.value.cutoffs[0]!);
    const result = controlFrameFromWire(table, "runtime", message.frame);
    expect(result.ok ? "accepted" : describeError(result.error)).toContain("cutoffs");
    for (const bad of [
      { skipToSequence: 3, skipReason: 1 },
      { skipToSequence: 9, skipReason: 0 },
    ]) {
      const skip = create(LinkEventSchema, { sessionRef: 1, lane: 2, sequence: 4, ...bad });
      const refused = mediaFromWire(table, "adapter", skip);
      expect(refused.ok ? "accepted" : describeError(refused.error)).toContain("skip_to_sequence");
    }
  });

  test("an unknown ref is held on both connections, refused once unbound; other messages are handed on", () => {
    const late = bindingTableCreate();
    expect(through(plain[7]!, "adapter", late)).toEqual({ kind: "held", ref: 1 });
    expect(through(plain[5]!, "adapter", late)).toEqual({ kind: "held", ref: 1 });
    const gone = bound();
    tableUnbind(gone, 1);
    expect(() => through(plain[7]!, "adapter", gone)).toThrow("session_ref_unknown");
    const ping = create(LinkControlFrameSchema, {
      frame: { case: "ping", value: create(LinkPingSchema, { nonce: 4n }) },
    });
    expect(value(controlFrameFromWire(table, "adapter", ping))).toEqual({ kind: "other", message: ping });
  });
});
