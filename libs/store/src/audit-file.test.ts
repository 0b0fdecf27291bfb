import fc from "fast-check";
import { expect, test } from "vitest";
import { digestOf } from "./audit-chain.ts";
import { endLine, headLine, hex, recordLine, verifyAuditFile } from "./audit-file.ts";

function chainOf(subjects: readonly string[]) {
  let previous: Uint8Array = new Uint8Array(32);
  const links = subjects.map((subject, i) => {
    const row = `[${i + 1}, ${JSON.stringify(subject)}]`;
    const link = { id: i + 1, previous, digest: digestOf(previous, row), row };
    previous = link.digest;
    return link;
  });
  return { links, head: { id: links.length, digest: previous } };
}

function fileOf(subjects: readonly string[]): string[] {
  const { links, head } = chainOf(subjects);
  return [headLine(1), ...links.map(recordLine), endLine(head)];
}

async function* from(lines: readonly string[]) {
  yield* lines;
}
const verdict = (lines: readonly string[], anchor: { id: number; digest: Uint8Array } | null = null) =>
  verifyAuditFile(from(lines), anchor);

const subjects = ["a", "b", "c", "d", "e"];

test("F-170 an exported log is checked without a platform, and each kind of change is named", async () => {
  const lines = fileOf(subjects);
  const { head } = chainOf(subjects);
  expect(await verdict(lines)).toEqual({ records: 5, head, faults: [] });
  const named = async (changed: readonly string[]) =>
    (await verdict(changed)).faults.map(({ id, kind }) => `${kind} ${id}`);
  expect(await named(lines.with(3, lines[3]?.replace('\\"c\\"', '\\"x\\"') ?? ""))).toEqual(["edited 3"]);
  expect(await named(lines.toSpliced(3, 1))).toEqual(["removed 3"]);
  expect(await named(lines.toSpliced(4, 0, lines[3] ?? ""))).toContain("inserted 3");
  expect(await named(lines.toSpliced(5, 1))).toEqual(["removed 5"]);
  expect(await named(lines.slice(0, -1))).toEqual(["removed 6"]);
  expect(await named([])).toEqual(["head 0"]);
  // Written anew from the third on: whole by itself, but not what was seen before.
  const anew = fileOf(["a", "b", "x", "d", "e"]);
  expect(await named(anew)).toEqual([]);
  expect((await verdict(anew, head)).faults).toMatchObject([{ id: 5, kind: "edited" }]);
  expect((await verdict(lines, { ...head, id: 4 })).faults).toMatchObject([{ id: 4 }]);
});

test("F-170 whatever single change is made to the text of a file, it is found", async () => {
  const whole = fileOf(subjects);
  const text = whole.join("\n");
  await fc.assert(
    fc.asyncProperty(fc.nat(text.length - 1), fc.constantFrom("", "x", "0", "f", '"'), async (at, put) => {
      const changed = text.slice(0, at) + put + text.slice(at + 1);
      const lines = changed.split("\n");
      // The same records in other words are the same: unused members of the JSON, and what only the eye sees.
      fc.pre(changed !== text && !sameMeaning(whole, lines));
      const { faults } = await verdict(lines);
      expect(faults.length, changed).toBeGreaterThan(0);
    }),
    { numRuns: 400 },
  );
});

function sameMeaning(a: readonly string[], b: readonly string[]): boolean {
  const read = (lines: readonly string[]): string => {
    try {
      return JSON.stringify(lines.map((line) => JSON.parse(line)));
    } catch {
      return "";
    }
  };
  const first = (lines: readonly string[]): string => read(lines.slice(0, 1));
  return read(a) === read(b) || (read(a.slice(1)) === read(b.slice(1)) && first(b).includes('"rspp-audit/1"'));
}

test("an export that begins in the middle stands by itself", async () => {
  const { links, head } = chainOf(subjects);
  const part = [headLine(3), ...links.slice(2).map(recordLine), endLine(head)];
  expect((await verdict(part)).faults).toEqual([]);
  expect(hex(head.digest)).toMatch(/^[0-9a-f]{64}$/);
});
