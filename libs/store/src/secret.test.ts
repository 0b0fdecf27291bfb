import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { format, inspect } from "node:util";
import { expect, test } from "vitest";
import { Secret, secretSource } from "./secret.ts";

test("NF-011 a secret prints itself nowhere", () => {
  const secret = new Secret("planted-7f3a");
  const holder = { a: [secret], b: new Map([["k", secret]]) };
  const shown = [
    String(secret),
    `${secret}`,
    JSON.stringify(holder),
    inspect(holder, { depth: 9, showHidden: true }),
    format("%s %o %j", secret, secret, secret),
    JSON.stringify(Object.entries(secret)),
    JSON.stringify(structuredClone({ ...secret })),
  ];
  expect(shown.join(" ")).not.toContain("planted");
  expect(secret.reveal()).toBe("planted-7f3a");
});

test("a secret is read anew each time, so that a rotation is met", async () => {
  const dir = mkdtempSync(join(tmpdir(), "rspp-secret-"));
  const path = join(dir, "key");
  writeFileSync(path, "one\n");
  const source = secretSource(`file:${path}`);
  expect((await source.read()).reveal()).toBe("one");
  writeFileSync(path, "two");
  expect((await source.read()).reveal()).toBe("two");
  rmSync(dir, { recursive: true });
  await expect(source.read()).rejects.toMatchObject({ code: "secret_missing" });
  const env: Record<string, string> = { KEY: "three" };
  const fromEnv = secretSource("env:KEY", env);
  expect((await fromEnv.read()).reveal()).toBe("three");
  delete env.KEY;
  await expect(fromEnv.read()).rejects.toMatchObject({ code: "secret_missing" });
});

test("a bare value is refused and not repeated in the error", () => {
  expect(() => secretSource("sk-planted-9")).toThrow(expect.objectContaining({ code: "invalid" }));
  expect(() => secretSource("sk-planted-9")).not.toThrow(/planted/);
});
