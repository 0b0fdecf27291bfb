/** Cost of one audio event of 20 ms on the wire, in its full and its short form. */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { EnvelopeSchema } from "@rspp/gen/rspp/event/v1/event_pb";
import { LinkEventSchema } from "@rspp/gen/rspp/runtime/v1/link_pb";
import type { SessionConstants } from "@rspp/protocol/link-types";
import { bindingCreate, receiveEvent, shorten } from "@rspp/wire/binding";
import { fromEnvelope } from "@rspp/wire/decode";
import { eventOfValid, toEnvelope } from "@rspp/wire/envelope";
import { describeError, type WireError } from "@rspp/wire/wire-error";
import type { EventInit } from "@rspp/wire/wire-event";
import { type Bench, type BenchResult, measure, type Row, row } from "./bench.ts";

const CALLS = 5_000;
const ROUNDS = 9;

const constants: SessionConstants = {
  tenant: "tenant-1",
  session: "session-1",
  pipelineVersion: "voice-assistant@1",
  epoch: 4_294_967_297,
  codec: "pcm_s16le",
  sampleRateHz: 16_000,
  channels: 1,
};

const audio: EventInit = {
  eventId: "a-9",
  wallMs: 1_790_000_000_180,
  transportSequence: 9,
  mediaTime: { kind: "samples", index: 2_560, rateHz: 16_000 },
  payload: {
    kind: "audio",
    format: { codec: "pcm_s16le", rateHz: 16_000, channels: 1 },
    bytes: new Uint8Array(640),
    durationUs: 20_000,
    end: false,
    segment: -1,
  },
};

function value<T>(result: { ok: true; value: T } | { ok: false; error: WireError }): T {
  if (!result.ok) throw new Error(describeError(result.error));
  return result.value;
}

/** Microseconds of CPU per call, by round. */
function cost(what: string, call: () => unknown): Row {
  const all = (): void => {
    for (let i = 0; i < CALLS; i++) call();
  };
  all();
  const rounds = Array.from({ length: ROUNDS }, () => measure(all).threadUs / CALLS);
  return row(what, "µs/event", rounds);
}

export const wire: Bench = {
  name: "wire",
  title: "One audio event of 20 ms on the wire",
  run(): BenchResult {
    const binding = value(bindingCreate(1, constants, 1_790_000_000_000));
    const envelope = value(toEnvelope(constants, audio));
    const place = { sequence: 9, sentAudioUs: 180_000, sentBytes: 5_760 };
    const full = toBinary(EnvelopeSchema, envelope);
    const short = toBinary(LinkEventSchema, value(shorten(binding, "adapter", envelope, place)));
    const received = fromBinary(LinkEventSchema, short);
    const expanded = value(receiveEvent(binding, "adapter", received));
    return {
      name: "wire",
      title: wire.title,
      topology: "one process, no sockets",
      compared: "the full envelope in the same run; an empty message as the floor",
      rows: [
        cost("full: made and validated", () => toEnvelope(constants, audio)),
        cost("full: to bytes", () => toBinary(EnvelopeSchema, envelope)),
        cost("full: from bytes to event, validated", () => fromEnvelope(full)),
        cost("short: made", () => shorten(binding, "adapter", envelope, place)),
        cost("short: to bytes", () => toBinary(LinkEventSchema, received)),
        cost("short: from bytes", () => fromBinary(LinkEventSchema, short)),
        cost("short: checked and expanded", () => receiveEvent(binding, "adapter", received)),
        cost("short: expanded to event", () => eventOfValid(expanded)),
        cost("an empty message", () => create(LinkEventSchema, {})),
      ],
      notes: [`${full.length} bytes in full, ${short.length} in the short form, 640 of them audio`],
    };
  },
};
