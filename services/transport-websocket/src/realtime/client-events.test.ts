import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readClientEvent } from "./client-events.ts";

const read = (event: unknown) => readClientEvent(JSON.stringify(event)).event;

describe("events of a Realtime client", () => {
  test("F-084 audio is read from Base64 to the byte", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 200 }), (bytes) => {
        const event = read({ type: "input_audio_buffer.append", audio: Buffer.from(bytes).toString("base64") });
        if (!event.ok || event.value.type !== "input_audio_buffer.append") throw new Error("it was not taken");
        expect(Buffer.compare(event.value.audio, bytes)).toBe(0);
      }),
    );
  });

  test("whatever comes in, the answer is an event or a problem with a name and a remedy; it never throws", () => {
    const sound = (text: string): void => {
      const { event } = readClientEvent(text);
      if (event.ok) return;
      expect(event.error.code).not.toBe("");
      expect(event.error.message.length).toBeGreaterThan(20);
    };
    fc.assert(fc.property(fc.string(), sound));
    fc.assert(fc.property(fc.json(), sound));
    const fields = fc.record(
      {
        type: fc.constantFrom(
          "session.update",
          "input_audio_buffer.append",
          "response.cancel",
          "conversation.item.truncate",
        ),
        session: fc.anything(),
        audio: fc.anything(),
        item_id: fc.anything(),
        content_index: fc.anything(),
        audio_end_ms: fc.anything(),
        response_id: fc.anything(),
      },
      { requiredKeys: ["type"] },
    );
    fc.assert(fc.property(fields, (event) => sound(JSON.stringify(event))));
  });

  test.each([
    [{ type: "input_audio_buffer.append", audio: "QUJ" }, "audio"],
    [{ type: "conversation.item.truncate", item_id: "i", content_index: 1, audio_end_ms: 0 }, "content_index"],
    [{ type: "conversation.item.truncate", item_id: "i", content_index: 0, audio_end_ms: -1 }, "audio_end_ms"],
    [{ type: "conversation.item.retrieve", item_id: "i".repeat(257) }, "item_id"],
    [{ type: "session.update", session: [] }, "session"],
    [{ type: "__proto__" }, "type"],
  ])("%j is refused by its field", (event, param) => {
    expect(read(event)).toMatchObject({ ok: false, error: { param } });
  });
});
