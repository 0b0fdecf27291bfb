import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { clearMessage, markMessage, mediaMessage, parseCarrierMessage } from "./messages.ts";

const streamSid = "MZ1";
const parse = (message: unknown) => parseCarrierMessage(JSON.stringify(message));
const mediaFormat = { encoding: "audio/x-mulaw", sampleRate: 8_000, channels: 1 };
const start = { accountSid: "AC1", callSid: "CA1", streamSid, tracks: ["inbound"], mediaFormat };
const media = { track: "inbound", chunk: "2", timestamp: "40", payload: "/v8=" };

describe("messages of the carrier", () => {
  test("F-085 each of the documented messages is read", () => {
    expect(parse({ event: "connected", protocol: "Call", version: "1.0.0" })).toEqual({
      ok: true,
      value: { event: "connected" },
    });
    const customParameters = { token: "t" };
    expect(parse({ event: "start", sequenceNumber: "1", streamSid, start: { ...start, customParameters } })).toEqual({
      ok: true,
      value: { event: "start", streamSid, callSid: "CA1", accountSid: "AC1", parameters: customParameters },
    });
    expect(parse({ event: "media", sequenceNumber: "3", streamSid, media })).toMatchObject({
      value: { event: "media", track: "inbound", chunk: 2, timestampMs: 40, payload: new Uint8Array([254, 255]) },
    });
    expect(parse({ event: "dtmf", streamSid, dtmf: { track: "inbound_track", digit: "#" } })).toMatchObject({
      value: { digit: "#" },
    });
    expect(parse({ event: "mark", streamSid, mark: { name: "1.0.1" } })).toMatchObject({ value: { name: "1.0.1" } });
    expect(parse({ event: "stop", streamSid, stop: { callSid: "CA1" } })).toMatchObject({ value: { event: "stop" } });
  });

  test.each([
    ["no JSON", "{", "malformed_frame", undefined],
    ["a list", "[]", "malformed_frame", undefined],
    ["another event", { event: "toString", streamSid }, "unknown_event_type", undefined],
    ["no stream", { event: "stop", stop: {} }, "schema_validation_error", "streamSid"],
    ["no body", { event: "media", streamSid }, "schema_validation_error", "media"],
    [
      "a format of another kind",
      { event: "start", streamSid, start: { ...start, mediaFormat: { ...mediaFormat, encoding: "audio/x-l16" } } },
      "schema_validation_error",
      "start.mediaFormat.encoding",
    ],
    [
      "another rate",
      { event: "start", streamSid, start: { ...start, mediaFormat: { ...mediaFormat, sampleRate: 16_000 } } },
      "schema_validation_error",
      "start.mediaFormat.sampleRate",
    ],
    [
      "outbound alone",
      { event: "start", streamSid, start: { ...start, tracks: ["outbound"] } },
      "schema_validation_error",
      "start.tracks",
    ],
    [
      "parameters that are none",
      { event: "start", streamSid, start: { ...start, customParameters: { a: 1 } } },
      "schema_validation_error",
      "start.customParameters",
    ],
    [
      "no base64",
      { event: "media", streamSid, media: { ...media, payload: "***" } },
      "schema_validation_error",
      "media.payload",
    ],
    [
      "nothing to hear",
      { event: "media", streamSid, media: { ...media, payload: "" } },
      "schema_validation_error",
      "media.payload",
    ],
    [
      "too much to hear",
      { event: "media", streamSid, media: { ...media, payload: "A".repeat(40_000) } },
      "schema_validation_error",
      "media.payload",
    ],
    [
      "a chunk below 1",
      { event: "media", streamSid, media: { ...media, chunk: "0" } },
      "schema_validation_error",
      "media.chunk",
    ],
    [
      "no time",
      { event: "media", streamSid, media: { ...media, timestamp: "soon" } },
      "schema_validation_error",
      "media.timestamp",
    ],
    ["no key", { event: "dtmf", streamSid, dtmf: { digit: "x" } }, "schema_validation_error", "dtmf.digit"],
  ])("%s is refused by name", (_what, message, reason, field) => {
    const parsed = parseCarrierMessage(typeof message === "string" ? message : JSON.stringify(message));
    if (parsed.ok) throw new Error("it was taken");
    expect([parsed.error.reason, parsed.error.violations?.[0]?.field]).toEqual([reason, field]);
    expect(parsed.error.remedy).not.toBe("");
  });

  test("whatever comes in, nothing throws, and nothing of it is repeated", () => {
    fc.assert(fc.property(fc.string(), (text) => void parseCarrierMessage(text)));
    fc.assert(fc.property(fc.json(), (text) => void parseCarrierMessage(text)));
    const bodies = fc.record({
      event: fc.constantFrom("start", "media", "dtmf", "mark", "stop"),
      streamSid: fc.constant("s"),
      media: fc.jsonValue(),
      start: fc.jsonValue(),
      dtmf: fc.jsonValue(),
      mark: fc.jsonValue(),
      stop: fc.jsonValue(),
    });
    fc.assert(fc.property(bodies, (body) => void parse(body)));
    const parsed = parse({ event: "media", streamSid, media: { ...media, payload: "secret***" } });
    expect(JSON.stringify(parsed)).not.toContain("secret");
  });
});

test("what is sent is what the carrier documents", () => {
  expect(JSON.parse(mediaMessage(streamSid, new Uint8Array([254, 255])))).toEqual({
    event: "media",
    streamSid,
    media: { payload: "/v8=" },
  });
  expect(JSON.parse(markMessage(streamSid, "m"))).toEqual({ event: "mark", streamSid, mark: { name: "m" } });
  expect(JSON.parse(clearMessage(streamSid))).toEqual({ event: "clear", streamSid });
});
