import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { axisRow, barRow, markRow, type Scale } from "./bars.ts";

const scale: Scale = { fromNs: 0, toNs: 100, width: 10 };
const bar = (startNs: number, endNs: number | null, firstNs: number | null = null) => ({ startNs, endNs, firstNs });

describe("bars", () => {
  test("start, length, waiting and open ends stand where they belong", () => {
    expect(barRow(bar(0, 100), scale)).toBe("██████████");
    expect(barRow(bar(20, 50), scale)).toBe("  ███     ");
    expect(barRow(bar(20, 80, 50), scale)).toBe("  ░░░███  ");
    expect(barRow(bar(40, null), scale)).toBe("    █████›");
    expect(barRow(bar(55, 55), scale)).toBe("     █    ");
  });

  test("every row is as wide as the scale and shows at least one mark, wherever the instants are", () => {
    const instant = fc.integer({ min: -50, max: 150 });
    fc.assert(
      fc.property(
        instant,
        fc.option(instant),
        fc.option(instant),
        fc.integer({ min: 1, max: 40 }),
        (at, end, first, width) => {
          const row = barRow(bar(at, end, first), { ...scale, width });
          expect([...row].length).toBe(width);
          expect(row.trim()).not.toBe("");
        },
      ),
    );
    expect(markRow([0, 99, 100], scale)).toBe("▲        ▲");
  });

  test("the axis fits a narrow scale", () => {
    expect(axisRow({ fromNs: 0, toNs: 100, width: 40 }, (ns) => `${ns} ns`).length).toBe(40);
    expect(axisRow({ fromNs: 0, toNs: 100, width: 14 }, (ns) => `${ns} ns`)).toBe("0 ns    100 ns");
  });
});
