import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { Child, ChildNotReady, type ChildOptions } from "./child.ts";

/** A service by hand: `code` runs where its main would. */
function childOf(code: string, options: Partial<ChildOptions> = {}) {
  const dir = mkdtempSync(join(tmpdir(), "rspp-child-"));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  const main = join(dir, "main.mjs");
  writeFileSync(main, `const ready = () => console.log(JSON.stringify({ ready: true, pid: process.pid }));\n${code}`);
  const died: { why: string; lastLines: readonly string[]; againMs: number | null }[] = [];
  let back = 0;
  const child = new Child({
    service: "lease",
    main,
    env: process.env,
    againFirstMs: 1,
    flags: () => [],
    onBack: () => back++,
    onDied: (why, lastLines, againMs) => died.push({ why, lastLines: [...lastLines], againMs }),
    ...options,
  });
  onTestFinished(async () => void (await child.stop(0)));
  vi.spyOn(process.stderr, "write").mockReturnValue(true);
  onTestFinished(() => void vi.restoreAllMocks());
  return { child, died, back: () => back };
}

const until = async (done: () => boolean): Promise<void> => {
  while (!done()) await new Promise((resolve) => setTimeout(resolve, 2));
};

test("one that dies again and again is told of with its last lines, started anew each time, and given up after six deaths", async () => {
  const { child, died, back } = childOf(`ready(); console.error("out of luck"); process.exitCode = 3;`);
  await child.start();
  await until(() => died.at(-1)?.againMs === null);
  expect(died.map(({ againMs }) => againMs)).toEqual([1, 2, 4, 8, 16, null]);
  expect(died.map(({ why }) => why)).toEqual(died.map(() => "ended with status 3"));
  expect(died.every(({ lastLines }) => lastLines.join() === "out of luck")).toBe(true);
  expect(back()).toBe(5);
});

test("one that is not ready says why, and is not started again; one that does not stop is killed", async () => {
  const failing = childOf(`console.error("lease: no port"); process.exitCode = 2;`);
  const failure = await failing.child.start().catch((thrown: unknown) => thrown);
  expect(failure).toBeInstanceOf(ChildNotReady);
  expect(failure).toMatchObject({ status: 2, lastLines: ["lease: no port"] });
  expect(failing.died).toEqual([]);
  const stubborn = childOf(`process.on("SIGTERM", () => {}); setInterval(() => {}, 1000); ready();`);
  await stubborn.child.start();
  expect(await stubborn.child.stop(20)).toEqual({ status: null, signal: "SIGKILL" });
  expect(stubborn.died).toEqual([]);
});

test("standard input is held open and no secret of ours stands in the arguments", async () => {
  const { child } = childOf(
    `process.stdin.once("data", () => {}).once("end", () => process.exit(9)); ready(); setInterval(() => {}, 1000);`,
    {
      env: { ...process.env, RSPP_UP_DATABASE_URL: "planted" },
      flags: () => ["--database-url", "env:RSPP_UP_DATABASE_URL"],
    },
  );
  const { pid } = await child.start();
  expect(pid).not.toBe(process.pid);
  expect(await child.stop(5_000)).toEqual({ status: null, signal: "SIGTERM" });
});
