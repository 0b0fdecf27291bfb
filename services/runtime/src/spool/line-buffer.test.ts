import fc from "fast-check";
import { expect, test } from "vitest";
import { LineBuffer } from "./line-buffer.ts";

test("numbers and strings are written as JSON writes them, whatever they are; lines come back one by one", () => {
  const value = fc.oneof(
    fc.maxSafeInteger(),
    fc.nat(),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.string(),
  );
  const buffer = new LineBuffer();
  fc.assert(
    fc.property(fc.array(fc.array(value, { minLength: 1, maxLength: 5 }), { minLength: 1, maxLength: 5 }), (lines) => {
      buffer.clear();
      for (const values of lines) {
        buffer.begin("tag");
        for (const one of values) {
          if (typeof one === "string") buffer.string(one);
          else buffer.number(one);
          buffer.byte(0x20);
        }
        buffer.end();
        buffer.begin("lost");
        buffer.utf8("never mind");
        buffer.rollback();
      }
      expect(buffer.count).toBe(lines.length);
      const expected = lines.map((values) => `tag ${values.map((one) => `${JSON.stringify(one)} `).join("")}`);
      expect(buffer.view().toString("utf8")).toBe(expected.join("\n"));
    }),
  );
});
