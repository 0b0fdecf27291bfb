// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the samples hold templates
import { describe, expect, test } from "vitest";
import { blankNonCode, lineOf } from "./blank.ts";

/** Blanked text with runs of spaces written as one. */
const words = (source: string): string => blankNonCode(source).replace(/ +/g, " ").replace(/^ | $/g, "");

describe("blanking of what is not code", () => {
  test.each([
    ["a // Date\nb", "a \nb"],
    ["a /* Date\n Date */ b", "a \n b"],
    ['a("Date \\" Date", \'x\')', "a(\" \", ' ')"],
    ["`Date ${b + `Date ${c}`} Date`; d", "` ${b + ` ${c}`} `; d"],
    ["`${{ a: { b } }} Date` + e", "`${{ a: { b } }} ` + e"],
    ['x = /[/"]Date/g.test(y) / 2 / z', "x = / /g.test(y) / 2 / z"],
    ["return /Date/.exec(s)", "return / /.exec(s)"],
    ["'unclosed Date\nb", "' \nb"],
    ["#!/usr/bin/env node\nb", "\nb"],
  ])("%j", (source, expected) => {
    expect(words(source)).toBe(expected);
    expect(blankNonCode(source).length).toBe(source.length);
  });

  test("lines are counted from 1", () => {
    expect([0, 2, 3, 9].map((offset) => lineOf("ab\ncd\nef", offset))).toEqual([1, 1, 2, 3]);
  });
});
