import { createHash } from "node:crypto";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { sha256, sha256Create, sha256FinishHex, sha256Hex, sha256Update, sha256Utf8Hex } from "./sha256.ts";

const oracle = (data: Uint8Array | string): string => createHash("sha256").update(data).digest("hex");

describe("SHA-256", () => {
  test.each([
    ["", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"],
    ["abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"],
    [
      "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
      "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
    ],
    ["a".repeat(1_000_000), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"],
  ])("matches the FIPS 180-4 vectors (%#)", (text, hex) => {
    expect(sha256Utf8Hex(text)).toBe(hex);
  });

  test("matches node:crypto at every length around the block and padding borders", () => {
    for (let length = 0; length <= 200; length++) {
      const bytes = Uint8Array.from({ length }, (_, i) => (i * 37 + length) & 0xff);
      expect(sha256Hex(bytes)).toBe(oracle(bytes));
      expect(Buffer.from(sha256(bytes)).toString("hex")).toBe(oracle(bytes));
    }
  });

  test("matches node:crypto on random input, fed in random pieces", () => {
    const pieces = fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 8 });
    fc.assert(
      fc.property(pieces, (parts) => {
        const hash = sha256Create();
        for (const part of parts) sha256Update(hash, part);
        expect(sha256FinishHex(hash)).toBe(oracle(Buffer.concat(parts)));
      }),
      { numRuns: 300 },
    );
  });

  test("hashes the UTF-8 form of any string", () => {
    fc.assert(fc.property(fc.string({ unit: "binary" }), (s) => sha256Utf8Hex(s) === oracle(s)));
  });
});
