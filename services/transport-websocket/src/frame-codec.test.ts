import { create, toBinary, toJsonString } from "@bufbuild/protobuf";
import { ClientFrameSchema, ServerFrameSchema } from "@rspp/gen/rspp/transport/v1/websocket_pb";
import { ascii, closeText } from "@rspp/transport/problem";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeClientFrame, encodeServerFrame } from "./frame-codec.ts";
import { limits } from "./limits.ts";
import { closeCodes, fieldRefusal, wireRefusal } from "./refusal.ts";

const audio = { sequence: 7n, data: new Uint8Array([1, 2, 3, 4]), durationUs: 20_000 };
const frame = create(ClientFrameSchema, { message: { case: "audio", value: audio } });

describe("frames of the native protocol", () => {
  test("F-030 both encodings decode to the same frame", () => {
    const binary = decodeClientFrame(toBinary(ClientFrameSchema, frame), "binary");
    const json = decodeClientFrame(new TextEncoder().encode(toJsonString(ClientFrameSchema, frame)), "json");
    expect(binary).toEqual({ ok: true, value: frame });
    expect(json).toEqual({ ok: true, value: frame });
  });

  test("whatever comes in, the answer is a frame or a refusal with a remedy; it never throws", () => {
    const refusedWell = (data: Uint8Array, encoding: "binary" | "json"): void => {
      const decoded = decodeClientFrame(data, encoding);
      if (decoded.ok) return;
      const why = wireRefusal(decoded.error);
      expect(why.detail.remedy).not.toBe("");
      expect(closeText(why.detail).length).toBeLessThanOrEqual(120);
    };
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (data) => refusedWell(data, "binary")));
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (data) => refusedWell(data, "json")));
    fc.assert(fc.property(fc.json(), (text) => refusedWell(new TextEncoder().encode(text), "json")));
    // One byte of a good frame changed.
    const good = toBinary(ClientFrameSchema, frame);
    fc.assert(
      fc.property(fc.nat(good.length - 1), fc.nat(255), (at, value) => {
        const bad = good.slice();
        bad[at] = value;
        refusedWell(bad, "binary");
      }),
    );
  });

  test.each([
    ['{"hello": {}}', "unknown_event_type", ""],
    ['{"audio": {"sequence": "1", "volume": 3}}', "schema_validation_error", "volume"],
    ['{"audio": {"sequence": "many"}}', "schema_validation_error", "ClientAudio.sequence"],
    ["[1]", "malformed_frame", ""],
    ["{", "malformed_frame", ""],
    ["{}", "schema_validation_error", "message"],
  ])("JSON %s is refused by name", (text, reason, field) => {
    const decoded = decodeClientFrame(new TextEncoder().encode(text), "json");
    if (decoded.ok) throw new Error("it was taken");
    expect([decoded.error.reason, decoded.error.violations[0]?.field ?? ""]).toEqual([reason, field]);
  });

  test("a frame past its bound is refused unread", () => {
    const decoded = decodeClientFrame(new Uint8Array(limits.FRAME_BYTES_MAX + 1), "binary");
    expect(decoded).toMatchObject({ ok: false, error: { reason: "message_too_large" } });
  });

  test("frames of the server are bytes or text", () => {
    const pong = create(ServerFrameSchema, { message: { case: "pong", value: { nonce: 3n } } });
    expect(encodeServerFrame(pong, "binary")).toBeInstanceOf(Uint8Array);
    expect(encodeServerFrame(pong, "json")).toBe('{"pong":{"nonce":"3"}}');
  });

  test("the text of a close frame is short and plain", () => {
    const long = fieldRefusal("audio.data", "rule", "is too long", "shorten it ".repeat(60));
    expect(long.code).toBe(closeCodes.badFrame);
    expect(ascii(`Grüße ${"x".repeat(200)}`)).toMatch(/^[\x20-\x7e]{120}$/);
  });
});
