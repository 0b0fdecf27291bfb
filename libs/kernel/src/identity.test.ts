import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { dedupeCreate, dedupeForget, dedupeKey, dedupeSequence } from "./identity.ts";
import { DEDUPE_KEYS_MAX, DEDUPE_SOURCES_MAX } from "./limits.ts";

describe("F-158 dedupe", () => {
  test("F-158 dedupe: a sequence is new once, then duplicate; a hole is a gap", () => {
    const d = dedupeCreate();
    const seen = [1, 2, 2, 1, 5, 4, 6].map((n) => dedupeSequence(d, "adapter/data", n));
    expect(seen).toEqual(["new", "new", "duplicate", "duplicate", "gap", "duplicate", "new"]);
    expect(dedupeSequence(d, "adapter/control", 1)).toBe("new");
    expect([0, -1, Number.NaN].map((n) => dedupeSequence(d, "fresh", n))).toEqual([
      "duplicate",
      "duplicate",
      "duplicate",
    ]);
    expect(d.sources).toEqual(["adapter/data", "adapter/control"]);
  });

  test("F-158 dedupe: a repeated key gives back the sequence of the first, so that lineage is kept", () => {
    const d = dedupeCreate();
    expect([dedupeKey(d, "k", 11), dedupeKey(d, "k", 12), dedupeKey(d, "", 13), dedupeKey(d, "", 14)]).toEqual([
      null,
      11,
      null,
      null,
    ]);
  });

  test("F-158 dedupe: names that plain objects treat specially are names like others", () => {
    const d = dedupeCreate();
    for (const name of ["__proto__", "__proto___", "constructor", "toString", "hasOwnProperty"]) {
      expect([dedupeKey(d, name, 5), dedupeKey(d, name, 6)]).toEqual([null, 5]);
      expect([dedupeSequence(d, name, 1), dedupeSequence(d, name, 1)]).toEqual(["new", "duplicate"]);
    }
  });

  test("F-158 dedupe: keys equal a naive window over random keys, also past the bound and through JSON", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 2 ** 30 }),
        fc.integer({ min: 600, max: 3 * DEDUPE_KEYS_MAX }),
        (seed, universe) => {
          let d = dedupeCreate();
          const window: { key: string; seq: number }[] = [];
          let x = seed;
          for (let seq = 1; seq <= 2 * DEDUPE_KEYS_MAX; seq++) {
            x = (Math.imul(x, 1103515245) + 12345) >>> 0;
            const key = `k${(x >>> 8) % universe}`;
            const known = window.find((w) => w.key === key);
            expect(dedupeKey(d, key, seq)).toBe(known?.seq ?? null);
            if (known === undefined) window.push({ key, seq });
            if (window.length > DEDUPE_KEYS_MAX) window.shift();
            if (seq % 700 === 0) d = JSON.parse(JSON.stringify(d));
          }
          expect(Object.keys(d.keys).length).toBe(window.length);
          expect(d.order.length).toBeLessThanOrEqual(DEDUPE_KEYS_MAX);
        },
      ),
      { numRuns: 8 },
    );
  });

  test("F-158 dedupe: sequences equal a naive high-water mark", () => {
    const step = fc.tuple(fc.constantFrom("a", "b", "c"), fc.integer({ min: 1, max: 12 }));
    fc.assert(
      fc.property(fc.array(step), (steps) => {
        const d = dedupeCreate();
        const marks = new Map<string, number>();
        for (const [source, n] of steps) {
          const mark = marks.get(source) ?? 0;
          expect(dedupeSequence(d, source, n)).toBe(n <= mark ? "duplicate" : n === mark + 1 ? "new" : "gap");
          marks.set(source, Math.max(mark, n));
        }
      }),
    );
  });

  test("F-158 dedupe: the window goes round more than once, and keeps the newest", () => {
    const d = dedupeCreate();
    const all = 2 * DEDUPE_KEYS_MAX + 7;
    for (let i = 1; i <= all; i++) expect(dedupeKey(d, `k${i}`, i)).toBe(null);
    expect(Object.keys(d.keys).length).toBe(DEDUPE_KEYS_MAX);
    expect(Object.hasOwn(d.keys, `k${all - DEDUPE_KEYS_MAX}`)).toBe(false);
    expect(dedupeKey(d, `k${all - DEDUPE_KEYS_MAX + 1}`, 0)).toBe(all - DEDUPE_KEYS_MAX + 1);
  });

  test("F-158 dedupe: what was put off may come again, and only that; its place in the window is empty", () => {
    const d = dedupeCreate();
    for (const [i, key] of ["a", "b", "__proto__"].entries()) dedupeKey(d, key, i + 1);
    const before = structuredClone(d);
    dedupeForget(d, "never");
    expect(d).toEqual(before);
    dedupeForget(d, "b");
    dedupeForget(d, "__proto__");
    expect(d.order).toEqual(["a", "", ""]);
    expect(Object.keys(d.keys)).toEqual(["a"]);
    expect([dedupeKey(d, "a", 9), dedupeKey(d, "b", 10), dedupeKey(d, "b", 11)]).toEqual([1, null, 10]);
    // Out of the window already: nothing is left to empty.
    const odd = { ...dedupeCreate(), keys: { gone: 1 } };
    dedupeForget(odd, "gone");
    expect(odd).toEqual(dedupeCreate());
  });

  test("F-158 dedupe: sources are bounded, the oldest is forgotten", () => {
    const d = dedupeCreate();
    for (let i = 0; i <= DEDUPE_SOURCES_MAX; i++) dedupeSequence(d, `s${i}`, 1);
    expect(d.sources.length).toBe(DEDUPE_SOURCES_MAX);
    expect(Object.keys(d.highWater).length).toBe(DEDUPE_SOURCES_MAX);
    expect(Object.hasOwn(d.highWater, "s0")).toBe(false);
  });
});
