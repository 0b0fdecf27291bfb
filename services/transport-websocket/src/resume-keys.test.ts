import type { TokenClaims } from "@rspp/ports/session-opener";
import fc from "fast-check";
import { expect, test } from "vitest";
import { createResumeKeys } from "./resume-keys.ts";

const claims: TokenClaims = {
  tenant: "acme",
  session: "s",
  pipelineVersion: "voice@1",
  instance: "",
  expiresWallMs: 0,
  variables: {},
};

test("F-088 a key is of its session and its fleet; an altered one, another session's or another fleet's is none", () => {
  const keys = createResumeKeys(() => "one");
  const key = keys.make(claims);
  expect(key).not.toBe(keys.make(claims));
  expect(createResumeKeys(() => "one").isOf({ ...claims, instance: "elsewhere" }, key)).toBe(true);
  expect(createResumeKeys(() => "two").isOf(claims, key)).toBe(false);
  for (const other of [{ tenant: "globex" }, { session: "t" }, { pipelineVersion: "voice@2" }]) {
    expect(keys.isOf({ ...claims, ...other }, key)).toBe(false);
  }
  const altered = fc.property(fc.nat(key.length - 1), fc.constantFrom("A", "b", "_", "%"), (at, char) => {
    const changed = `${key.slice(0, at)}${char}${key.slice(at + 1)}`;
    expect(keys.isOf(claims, changed)).toBe(changed === key);
  });
  fc.assert(altered);
  fc.assert(fc.property(fc.string({ maxLength: 60 }), (said) => !keys.isOf(claims, said)));
});
