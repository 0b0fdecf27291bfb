import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { buf, root } from "./contracts.ts";
import { printValidateProto } from "./print-validate-proto.ts";

const scratch = mkdtempSync(join(tmpdir(), "rspp-contract-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

test("buf lint finds nothing: STANDARD and COMMENTS", () => {
  expect(buf(["lint"])).toEqual({ status: 0, text: "" });
});

test("every contract file is formatted", () => {
  expect(buf(["format", "--diff", "--exit-code", "--path", "proto/rspp"])).toEqual({ status: 0, text: "" });
});

test("the vendored validate.proto is the one inside the installed protovalidate", () => {
  const vendored = readFileSync(join(root, "proto/vendor/buf/validate/validate.proto"), "utf8");
  expect(vendored === printValidateProto(), "run: node test/contract/print-validate-proto.ts").toBe(true);
});

/** Contracts of a commit in a directory of their own; null where the commit is not here or has none. */
function contractsOf(ref: string): string | null {
  const archive = spawnSync("git", ["archive", ref, "buf.yaml", "proto"], { cwd: root, maxBuffer: 1 << 26 });
  if (archive.status !== 0) return null;
  const directory = mkdtempSync(join(scratch, "commit-"));
  const untar = spawnSync("tar", ["-x", "-C", directory], { input: archive.stdout });
  expect(untar.status).toBe(0);
  return directory;
}

test("F-028 buf breaking against the last commits finds nothing", () => {
  const before = ["HEAD", "HEAD~1"].map(contractsOf).filter((directory) => directory !== null);
  // A shallow clone has only HEAD, an unpacked archive no commit at all.
  expect(before.length).toBeGreaterThanOrEqual(existsSync(join(root, ".git")) ? 1 : 0);
  for (const directory of before) {
    expect(buf(["breaking", "--against", directory])).toEqual({ status: 0, text: "" });
  }
});

/** A copy of the contracts with one piece of one file replaced. */
function planted(file: string, from: RegExp, to: string): string {
  const directory = mkdtempSync(join(scratch, "planted-"));
  cpSync(join(root, "proto"), join(directory, "proto"), { recursive: true });
  cpSync(join(root, "buf.yaml"), join(directory, "buf.yaml"));
  const path = join(directory, "proto/rspp", file);
  const text = readFileSync(path, "utf8");
  const changed = text.replace(from, to);
  expect(changed, "the planted change applies").not.toBe(text);
  writeFileSync(path, changed);
  return directory;
}

const wordTimingEnd = /^ {2}uint32 end_us = 4;$/m;

test.each([
  ["a removed field", "event/v1/text.proto", wordTimingEnd, "", "end_us", "WordTiming"],
  ["a renumbered field", "event/v1/text.proto", wordTimingEnd, "  uint32 end_us = 9;", "end_us", "WordTiming"],
  ["a renamed field", "event/v1/text.proto", wordTimingEnd, "  uint32 stop_us = 4;", "end_us", "WordTiming"],
  ["another type", "event/v1/text.proto", wordTimingEnd, "  string end_us = 4;", "end_us", "WordTiming"],
  ["a removed enum value", "common/v1/lane.proto", /^ {2}LANE_DATA = 2;$/m, "", "LANE_DATA", "Lane"],
  [
    "a removed rpc",
    "state/v1/state_service.proto",
    /^ {2}rpc GetState\([^{]*\{[^}]*\};\n {2}\}$/m,
    "",
    "GetState",
    "StateService",
  ],
])("F-028 %s is refused by name", (_what, file, from, to, name, owner) => {
  const current = planted(file, from, to);
  const outcome = buf(["breaking", "--against", root], current);
  expect(outcome.status).toBe(100);
  expect(outcome.text).toContain(name);
  expect(outcome.text).toContain(owner);
});

test("F-028 an added field is no breaking change", () => {
  const current = planted(
    "event/v1/text.proto",
    wordTimingEnd,
    "  uint32 end_us = 4;\n  // Loudness in hundredths of a decibel.\n  int32 loudness = 5;",
  );
  expect(buf(["breaking", "--against", root], current)).toEqual({ status: 0, text: "" });
});
