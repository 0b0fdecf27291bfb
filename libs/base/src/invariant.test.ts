import { describe, expect, test } from "vitest";
import { InvariantError, invariant, unreachable } from "./invariant.ts";

function thrownBy(run: () => void): InvariantError {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(InvariantError);
    return error as InvariantError;
  }
  throw new Error("nothing was thrown");
}

describe("invariant", () => {
  test("is silent when the condition holds and narrows its type", () => {
    const value: string | null = ["x"].at(0) ?? null;
    invariant(value !== null, "a value");
    expect(value.length).toBe(1);
  });

  test("says what was expected and what was found", () => {
    const error = thrownBy(() => invariant(false, "size is at most 4", { size: 9 }));
    expect(error.message).toBe('size is at most 4; found {"size":9}');
    expect(error.expected).toBe("size is at most 4");
    expect(error.found).toEqual({ size: 9 });
    expect(error.name).toBe("InvariantError");
  });

  test("leaves `found` out of the message when there is none", () => {
    expect(thrownBy(() => invariant(0, "the list is not empty")).message).toBe("the list is not empty");
  });

  test("describes values that JSON cannot, without throwing, and bounds the text", () => {
    const cyclic: { self?: unknown } = {};
    cyclic.self = cyclic;
    for (const found of [cyclic, 3n, Number.NaN, () => 1, Symbol("s"), null]) {
      expect(thrownBy(() => invariant(false, "m", found)).message).toMatch(/^m; found ./);
    }
    expect(thrownBy(() => invariant(false, "m", "x".repeat(10_000))).message.length).toBeLessThan(300);
  });

  test("unreachable throws on data that lied about its type", () => {
    expect(thrownBy(() => unreachable("surprise" as never)).message).toContain("surprise");
  });
});
