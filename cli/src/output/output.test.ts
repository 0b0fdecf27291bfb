import { describe, expect, test } from "vitest";
import { coloured, printable, shortened, widthOf } from "./style.ts";
import { facts, table } from "./table.ts";
import { agoWords, bytesWords, countWords, msWords } from "./words.ts";

describe("output for people", () => {
  test("colours on a terminal alone, and never with NO_COLOR", () => {
    expect(coloured({ isTTY: true }, {})).toBe(true);
    expect(coloured({ isTTY: true }, { NO_COLOR: "1" })).toBe(false);
    expect(coloured({ isTTY: true }, { TERM: "dumb" })).toBe(false);
    expect(coloured({}, {})).toBe(false);
  });

  test("columns are aligned, colours do not count", () => {
    const lines = table(
      [{ head: "NAME" }, { head: "N", right: true }],
      [
        ["\u001b[1ma\u001b[22m", "1"],
        ["long", "12"],
      ],
    );
    expect(lines.map((line) => widthOf(line))).toEqual([8, 8, 8]);
    expect(
      facts([
        ["a", "1"],
        ["bb", ""],
        ["ccc", "2"],
      ]),
    ).toEqual(["a    1", "ccc  2"]);
  });

  test("what came over the wire cannot act on the terminal", () => {
    expect(printable("a\u001b[2Jb\u0007\u202ec\n")).toBe("a [2Jb  c ");
  });

  test("numbers", () => {
    expect([msWords(1.234), msWords(87.4), msWords(1_240), msWords(12_340)]).toEqual([
      "1.23 ms",
      "87 ms",
      "1.24 s",
      "12.3 s",
    ]);
    expect([bytesWords(12), bytesWords(4_608), bytesWords(3 * 2 ** 30)]).toEqual(["12 B", "4.5 KiB", "3.0 GiB"]);
    expect([countWords(1, "turn"), countWords(2, "turn")]).toEqual(["1 turn", "2 turns"]);
    expect(agoWords(0, 300_000)).toBe("5 min ago");
    expect(shortened("abcdef", 4)).toBe("abc…");
  });
});
