import { fromBinary, toBinary, toJsonString } from "@bufbuild/protobuf";
import { EnvelopeSchema } from "@rspp/gen/rspp/event/v1/event_pb";
import { type LinkControlFrame, LinkControlFrameSchema, LinkEventSchema } from "@rspp/gen/rspp/runtime/v1/link_pb";
import fc from "fast-check";
import { expect, test } from "vitest";
import { anyPayload, constants, eventInit } from "./arbitrary.test.ts";
import { bindingCreate, bindToWire, receiveEvent, shorten } from "./binding.ts";
import { bindingTableCreate, tableBind } from "./binding-table.ts";
import { fromEnvelope } from "./decode.ts";
import { toEnvelope } from "./envelope.ts";
import { limits } from "./limits.ts";
import { controlFrameFromWire, frameToWire, type WireFrame } from "./link-frame.ts";
import { describeError, toErrorDetail } from "./wire-error.ts";

/** FUZZ_RUNS sets how many of each are tried in a long run (quality.md R6). */
const runs = (usual: number): number => Number(process.env.FUZZ_RUNS ?? usual);

const seeds = fc.sample(eventInit(anyPayload), { numRuns: 40, seed: 11 }).map((init) => {
  const made = toEnvelope(constants, init);
  if (!made.ok) throw new Error(describeError(made.error));
  return made.value;
});
const binaries = seeds.map((envelope) => toBinary(EnvelopeSchema, envelope));
const texts = seeds.map((envelope) => toJsonString(EnvelopeSchema, envelope));

/** The answer is a value; a refusal is clear, bounded and can be sent. */
function answers(input: Uint8Array | string): void {
  const result = fromEnvelope(input, { unknownTypes: "pass" });
  if (result.ok) {
    if (result.value.outcome !== "event") return;
    // What was accepted can be sent on.
    const { event } = result.value;
    const again = toEnvelope(event, event);
    expect(again.ok ? "" : describeError(again.error)).toBe("");
    return;
  }
  const text = describeError(result.error);
  expect(text.length).toBeLessThan(20_000);
  expect(result.error.remedy).not.toBe("");
  toErrorDetail(result.error, "runtime");
}

function mutate(bytes: Uint8Array, edits: readonly (readonly [number, number, number])[]): Uint8Array {
  let out = Array.from(bytes);
  for (const [kind, at, value] of edits) {
    const i = at % (out.length + 1);
    if (kind === 0) out[i % Math.max(1, out.length)] = value;
    else if (kind === 1) out.splice(i, 0, value);
    else if (kind === 2) out.splice(i, 1);
    else out = out.slice(0, i);
  }
  return Uint8Array.from(out);
}

const anyEdits = fc.array(fc.tuple(fc.nat({ max: 3 }), fc.nat({ max: 2_000 }), fc.nat({ max: 255 })), {
  minLength: 1,
  maxLength: 6,
});
/** One byte overwritten keeps most messages readable, so that what is behind the decoder is reached. */
const oneByte = fc.tuple(fc.constant(0), fc.nat({ max: 2_000 }), fc.nat({ max: 255 })).map((edit) => [edit]);
const edits = fc.oneof(anyEdits, { arbitrary: oneByte, weight: 3 });

test("NF-013 random bytes and text: an answer, never a throw", () => {
  fc.assert(fc.property(fc.oneof(fc.uint8Array({ maxLength: 300 }), fc.string()), answers), { numRuns: runs(2_000) });
  fc.assert(fc.property(fc.json(), answers), { numRuns: runs(500) });
});

test("NF-013 mutated events in binary and JSON: an answer, never a throw", () => {
  fc.assert(
    fc.property(fc.constantFrom(...binaries), edits, (bytes, changes) => answers(mutate(bytes, changes))),
    { numRuns: runs(2_000) },
  );
  const encoder = new TextEncoder();
  const decoder = new TextDecoder();
  fc.assert(
    fc.property(fc.constantFrom(...texts), edits, (text, changes) =>
      answers(decoder.decode(mutate(encoder.encode(text), changes))),
    ),
    { numRuns: runs(2_000) },
  );
});

test("NF-013 JSON of other types in the place of a field: an answer, never a throw", () => {
  const objects = texts.map((text) => JSON.parse(text) as Record<string, unknown>);
  fc.assert(
    fc.property(fc.constantFrom(...objects), fc.nat(), fc.jsonValue(), (object, at, value) => {
      const keys = Object.keys(object);
      answers(JSON.stringify({ ...object, [keys[at % keys.length]!]: value }));
    }),
    { numRuns: runs(2_000) },
  );
});

test("NF-013 what is too large or too deep is refused unread", () => {
  answers(new Uint8Array(limits.WIRE_BINARY_BYTES_MAX + 1));
  const large = fromEnvelope(" ".repeat(limits.WIRE_JSON_CHARS_MAX + 1));
  expect(large.ok ? "" : large.error.reason).toBe("message_too_large");
  const deep = fromEnvelope(`{"schemaVersion":1,"x":${"[".repeat(100_000)}${"]".repeat(100_000)}}`);
  expect(deep.ok ? "" : deep.error.reason).toBe("malformed_frame");
});

test("NF-013 mutated short forms: an answer, never a throw", () => {
  const made = bindingCreate(1, constants, 1_790_000_000_000);
  if (!made.ok) throw new Error(describeError(made.error));
  const binding = made.value;
  const short = seeds.map((envelope) => {
    const event = shorten(binding, "runtime", envelope, { sequence: 4, sentAudioUs: 1, sentBytes: 2 });
    if (!event.ok) throw new Error(describeError(event.error));
    return toBinary(LinkEventSchema, event.value);
  });
  fc.assert(
    fc.property(fc.constantFrom(...short), edits, (bytes, changes) => {
      let event: ReturnType<typeof fromBinary<typeof LinkEventSchema>>;
      try {
        event = fromBinary(LinkEventSchema, mutate(bytes, changes));
      } catch {
        return; // The driver's own decode refuses the frame.
      }
      const result = receiveEvent(binding, "runtime", event);
      if (result.ok) fromEnvelope(result.value, { unknownTypes: "pass" });
      else expect(result.error.remedy).not.toBe("");
    }),
    { numRuns: runs(2_000) },
  );
});

test("NF-013 mutated frames of the control connection: an answer, never a throw", () => {
  const table = bindingTableCreate();
  const bind = bindToWire(1, constants, 1_790_000_000_000, null);
  if (!bind.ok || !tableBind(table, bind.value).ok) throw new Error("bind");
  const frames: WireFrame[] = [
    { kind: "bound", ref: 1 },
    {
      kind: "receipts",
      entries: [{ ref: 1, grantedAudioUs: 5, grantedBytes: 6, acked: { control: 1, data: 2, telemetry: 3 } }],
    },
    { kind: "unbind", ref: 1, seq: 4, lastMediaSeq: 9, reason: "draining" },
    ...seeds
      .filter((envelope) => envelope.payload.case === "control" || envelope.payload.case === "text")
      .map(
        (envelope): WireFrame => ({
          kind: "positioned",
          ref: 1,
          seq: 4,
          lastMediaSeq: 2,
          payload: { kind: "event", envelope },
        }),
      ),
  ];
  const bytes = frames.map((frame) => {
    const message = frameToWire(table, "runtime", frame, 0);
    if (!message.ok || message.value.connection !== "control") throw new Error("frame");
    return toBinary(LinkControlFrameSchema, message.value.frame);
  });
  let read = 0;
  fc.assert(
    fc.property(fc.constantFrom(...bytes), edits, (original, changes) => {
      let frame: LinkControlFrame;
      try {
        frame = fromBinary(LinkControlFrameSchema, mutate(original, changes));
      } catch {
        return; // The driver's own decode refuses the frame.
      }
      read += 1;
      const result = controlFrameFromWire(table, "runtime", frame);
      if (!result.ok) expect(result.error.remedy).not.toBe("");
    }),
    { numRuns: runs(2_000) },
  );
  expect(read).toBeGreaterThan(300);
});
