import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { format, inspect } from "node:util";
import { expect, test } from "vitest";
import { Secret, secretSource, secretStatus } from "./secret.ts";

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

test("F-061 a mounted directory is read anew each time, swapped as a whole, and nothing beside it is named", async () => {
  const dir = mkdtempSync(join(tmpdir(), "rspp-mount-"));
  const put = (version: string, text: string): void => {
    mkdirSync(join(dir, version));
    writeFileSync(join(dir, version, "key"), text);
    rmSync(join(dir, "now"), { force: true });
    symlinkSync(join(dir, version), join(dir, "now"));
  };
  put("v1", "one\n");
  const env = { RSPP_SECRETS_DIR: join(dir, "now") };
  const source = secretSource("mount:key", env);
  expect((await source.read()).reveal()).toBe("one");
  put("v2", "two");
  expect((await source.read()).reveal()).toBe("two");
  await expect(secretSource("mount:other", env).read()).rejects.toMatchObject({ code: "secret_missing" });
  for (const name of ["../v1/key", "/etc/passwd", "..", ".hidden", ""]) {
    expect(() => secretSource(`mount:${name}`, env), name).toThrow(expect.objectContaining({ code: "invalid" }));
  }
  rmSync(dir, { recursive: true });
});

test("F-061 F-117 whether a reference resolves is told without the secret, or what stands in its place", async () => {
  const env = { KEY: "planted-value" };
  expect(await secretStatus("env:KEY", env)).toEqual({ reference: "env:KEY", ok: true, problem: "" });
  const missing = await secretStatus("env:NONE", env);
  expect(missing).toMatchObject({ reference: "env:NONE", ok: false, problem: expect.stringContaining("not set") });
  const bare = await secretStatus("sk-planted-in-place", env);
  expect(bare.ok).toBe(false);
  expect(JSON.stringify([missing, bare])).not.toContain("planted");
});
