import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { openFileObjectStore } from "./file-object-store.ts";
import { objectStoreChecks } from "./testkit/object-store-checks.ts";

const home = mkdtempSync(join(tmpdir(), "rspp-objects-"));
afterAll(() => rmSync(home, { recursive: true, force: true }));
let count = 0;
const fresh = (): string => join(home, String(count++));

test.each(objectStoreChecks)("files as an object store: $title", ({ run }) => run(() => openFileObjectStore(fresh())));

test("a damaged file is told from a whole one, whichever byte changed", async () => {
  const dir = fresh();
  const store = await openFileObjectStore(dir);
  await store.put("k", new Uint8Array([1, 2, 3]));
  const path = join(dir, "objects", "k$");
  const whole = readFileSync(path);
  for (let i = 0; i < whole.length; i++) {
    const damaged = Buffer.from(whole);
    damaged[i] = (damaged[i] ?? 0) ^ 1;
    writeFileSync(path, damaged);
    await expect(store.get("k"), `byte ${i}`).rejects.toMatchObject({ code: "corrupt" });
  }
  for (const length of [0, 1, whole.length - 1]) {
    writeFileSync(path, whole.subarray(0, length));
    await expect(store.get("k"), `length ${length}`).rejects.toMatchObject({ code: "corrupt" });
  }
});

test("what a dead process left half written is swept at the next start, a living one's is not", async () => {
  const dir = fresh();
  await openFileObjectStore(dir);
  writeFileSync(join(dir, "staging", "4194399-x"), "half");
  writeFileSync(join(dir, "staging", `${process.pid}-y`), "under way");
  const store = await openFileObjectStore(dir);
  expect(readdirSync(join(dir, "staging"))).toEqual([`${process.pid}-y`]);
  expect(await store.list("")).toEqual([]);
});
