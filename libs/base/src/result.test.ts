import { expect, test } from "vitest";
import { err, ok, type Result } from "./result.ts";

function half(n: number): Result<number, "odd"> {
  return n % 2 === 0 ? ok(n / 2) : err("odd");
}

test("a result holds its value or its error, and the tag narrows to it", () => {
  const good = half(8);
  const bad = half(7);
  expect(good.ok && good.value).toBe(4);
  expect(!bad.ok && bad.error).toBe("odd");
});

test("the value cannot be read before the tag is checked", () => {
  const result = half(2);
  // @ts-expect-error `value` is not there on both sides of the union
  expect(result.value).toBe(1);
});
