import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { EnvelopeSchema } from "@rspp/gen/rspp/event/v1/event_pb";
import { LinkEventSchema } from "@rspp/gen/rspp/runtime/v1/link_pb";
import { expect, test } from "vitest";
import { constants } from "./arbitrary.test.ts";
import { bindingCreate, receiveEvent, shorten } from "./binding.ts";
import { fromEnvelope } from "./decode.ts";
import { eventOfValid, toEnvelope } from "./envelope.ts";
import { describeError, type WireError } from "./wire-error.ts";
import type { EventInit } from "./wire-event.ts";

const rounds = 5_000;

function value<T>(result: { ok: true; value: T } | { ok: false; error: WireError }): T {
  if (!result.ok) throw new Error(describeError(result.error));
  return result.value;
}

/** Microseconds per call, after as many calls to warm up. */
function cost(call: () => unknown): number {
  let kept: unknown;
  for (let i = 0; i < rounds; i++) kept = call();
  const start = performance.now();
  for (let i = 0; i < rounds; i++) kept = call();
  expect(kept).toBeDefined();
  return ((performance.now() - start) * 1000) / rounds;
}

// Measured and told, not asserted: the machine decides the figure. Set RSPP_WIRE_COST=1 to see it.
test.runIf(process.env.RSPP_WIRE_COST === "1")("cost of one audio event of 20 ms", () => {
  const init: EventInit = {
    ...{ eventId: "a-9", wallMs: 1_790_000_000_180, transportSequence: 9 },
    mediaTime: { kind: "samples", index: 2_560, rateHz: 16_000 },
    payload: {
      ...{ kind: "audio", format: { codec: "pcm_s16le", rateHz: 16_000, channels: 1 } },
      ...{ bytes: new Uint8Array(640), durationUs: 20_000, end: false, segment: -1 },
    },
  };
  const binding = value(bindingCreate(1, constants, 1_790_000_000_000));
  const envelope = value(toEnvelope(constants, init));
  const place = { sequence: 9, sentAudioUs: 180_000, sentBytes: 5_760 };
  const full = toBinary(EnvelopeSchema, envelope);
  const short = toBinary(LinkEventSchema, value(shorten(binding, "adapter", envelope, place)));
  const received = fromBinary(LinkEventSchema, short);
  const expanded = value(receiveEvent(binding, "adapter", received));
  const table = {
    "full: toEnvelope, validated": cost(() => toEnvelope(constants, init)),
    "full: to bytes": cost(() => toBinary(EnvelopeSchema, envelope)),
    "full: from bytes to event, validated": cost(() => fromEnvelope(full)),
    "short: shorten": cost(() => shorten(binding, "adapter", envelope, place)),
    "short: to bytes": cost(() => toBinary(LinkEventSchema, received)),
    "short: from bytes": cost(() => fromBinary(LinkEventSchema, short)),
    "short: check and expand": cost(() => receiveEvent(binding, "adapter", received)),
    "short: expanded to event": cost(() => eventOfValid(expanded)),
    "an empty LinkEvent": cost(() => create(LinkEventSchema, {})),
  };
  const lines = Object.entries(table).map(([what, us]) => `  ${us.toFixed(2).padStart(8)} µs  ${what}`);
  process.stdout.write(
    `audio event of 640 bytes: ${full.length} bytes full, ${short.length} short\n${lines.join("\n")}\n`,
  );
});
