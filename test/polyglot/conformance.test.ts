/** The runner of Connect's conformance suite, from its Go module, against a server built with libs/rpc: a smoke run. */
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { conformanceContracts, goTool, has, root, use } from "./tools.ts";

/** Suites of what every call rests on: the kinds of calls, metadata, time limits. */
const suites = ["Basic", "Timeouts", "Deadline Propagation", "Duplicate Metadata"];
/** Where we differ on purpose: every error carries a detail of our catalogue (architecture.md, Contracts). */
const otherwise = [
  "unimplemented",
  "error",
  "error-no-responses",
  "error-with-no-responses",
  "error-with-responses",
].map((name) => `**/${name}`);

describe.skipIf(!(await has("go", "version")))("NF-013 Connect's conformance runner", () => {
  test("NF-013 calls of gRPC, gRPC-Web and Connect over HTTP/1.1 and HTTP/2 are what the suite says they are", async () => {
    const [tool, contracts] = await Promise.all([goTool("connectconformance"), conformanceContracts()]);
    const here = join(root, "test/polyglot/conformance");
    const options = [
      ...["--mode", "server", "--conf", join(here, "config.yaml"), "--max-servers", "1"],
      ...suites.flatMap((name) => ["--run", `${name}/**`]),
      ...otherwise.flatMap((pattern) => ["--known-failing", pattern]),
    ];
    const server = [process.execPath, join(here, "server.ts"), contracts];
    const { ok, out } = await use(tool, [...options, "--", ...server], 120_000);
    expect(out).toMatch(/Total cases: [1-9]\d+/);
    expect([ok, out]).toEqual([true, expect.stringMatching(/\b0 failed/)]);
  }, 600_000);
});
