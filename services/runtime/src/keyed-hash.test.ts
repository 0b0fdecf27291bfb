import { createHmac } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import { createKeyedHash } from "./keyed-hash.ts";

test("the keyed hash is node's HMAC-SHA-256, cut to 16 digits, for any key and content", () => {
  const bytes = fc.uint8Array({ maxLength: 5_000 });
  const content = fc.oneof(bytes, fc.string({ unit: "binary", maxLength: 2_000 }));
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), fc.array(content, { maxLength: 4 }), (key, contents) => {
      const keyed = createKeyedHash(key);
      for (const one of contents) {
        expect(keyed(one)).toBe(createHmac("sha256", key).update(one).digest("hex").slice(0, 16));
      }
    }),
  );
});
