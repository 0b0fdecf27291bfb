/** `kill -9` in the middle of a turn, and a new start on the same data directory (`kernel.md` §11; F-150, F-156). */
import { appendFileSync, existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { SealedEvidence } from "@rspp/kernel/evidence";
import { verifyEvidence } from "@rspp/kernel/evidence";
import { epochParts } from "@rspp/protocol/lease-epoch";
import { openNodeStore } from "@rspp/runtime/spool/node-store";
import { listSessions, readSession, verifySpool } from "@rspp/runtime/spool/reader";
import type { SpoolStore } from "@rspp/runtime/spool/store";
import { describe, expect, test } from "vitest";
import { jsonOf, rspp, startRspp, tempDir } from "./rspp.ts";

function reader(data: string): SpoolStore {
  const store = openNodeStore(join(data, "spool"), { readOnly: true });
  if (!store.ok) throw new Error(store.error.detail);
  return store.value;
}

const incarnation = (data: string): number => Number(readFileSync(join(data, "lease-incarnation"), "utf8"));
const args = (data: string): string[] => ["demo", "--once", "--data", data, "--out", join(data, "reply.wav")];

/** Runs the demonstration in real time and kills it as soon as it has said `pattern`. @returns the session it was in. */
async function killedAt(data: string, pattern: RegExp): Promise<string> {
  const run = startRspp(args(data));
  await run.said(pattern);
  run.child.kill("SIGKILL");
  const end = await run.finished;
  expect(end.signal).toBe("SIGKILL");
  expect(end.all).not.toMatch(/what the caller heard is in/);
  const session = listSessions(reader(data)).at(-1)?.sessionId;
  if (session === undefined) throw new Error("the killed process has left no record");
  return session;
}

describe("kill -9 in mid-turn", () => {
  test("F-150 F-153 acknowledged records are there, what was torn is found, a new start works and nothing hangs", async () => {
    const data = join(tempDir(), "data");
    // The greeting is over and settled; the story has committed and is being played.
    const session = await killedAt(data, /turn 2 +committed/);
    expect(existsSync(join(data, "spool", "spool.lock"))).toBe(true);
    const left = verifySpool(reader(data));
    expect(left.problems.every((problem) => problem.kind === "torn")).toBe(true);
    expect(incarnation(data)).toBe(1);

    // What was told to the caller's side had been appended before: the evidence of both commits.
    const run = readSession(reader(data), session).runs[0];
    const evidence = run?.records.filter((record) => record.kind === "evidence") ?? [];
    const sealed = evidence.map((record) => (record.content as { manifest: SealedEvidence }).manifest);
    expect(sealed.map((s) => [s.manifest.turn, s.manifest.terminal?.kind, s.missing, verifyEvidence(s)])).toEqual([
      [1, "commit", [], true],
      [2, "commit", [], true],
    ]);
    expect(run?.records.filter((record) => record.kind === "delivery_addendum").length).toBe(1);
    expect(run?.ended).toBe(false);

    // A write cut short, as a dying machine leaves it.
    const segments = readdirSync(join(data, "spool")).filter((name) => name.endsWith(".seg"));
    const last = join(data, "spool", segments.sort().at(-1) ?? "");
    const whole = readFileSync(last);
    appendFileSync(last, whole.subarray(0, 77));

    const again = await rspp([...args(data), "--fast", "--json"]);
    expect(again.status, again.all).toBe(0);
    expect(again.stderr).toMatch(/recovered: \d+ records of earlier runs are whole, 1 damaged part found/);
    expect(again.stderr).toMatch(/cut short/);
    expect(incarnation(data)).toBe(2);
    const demo = jsonOf<{ ok: boolean; session: string }>(again);
    expect(demo.ok).toBe(true);

    // The torn tail was cut off; everything else stands, old and new.
    expect(verifySpool(reader(data))).toMatchObject({ ok: true, problems: [] });
    const kept = readSession(reader(data), session).runs[0];
    expect(kept?.records).toEqual(run?.records);
    expect(kept?.entries.length).toBe(run?.entries.length);

    // Epochs never repeat: a new incarnation of the lease store stands in each.
    const epochs = listSessions(reader(data)).map(({ epochs: of }) => of);
    expect(epochs.length).toBe(2);
    const [before, after] = epochs.map((of) => Math.max(...of));
    expect(after).toBeGreaterThan(before ?? 0);
    expect(epochs.map((of) => epochParts(of[0] ?? 0).storeIncarnation)).toEqual([1, 2]);

    // The broken-off recording is replayed up to where it goes.
    const replayed = await rspp(["replay", session, "--data", data]);
    expect(replayed.status, replayed.all).toBe(0);
    expect(replayed.stdout).toMatch(/turn 1: commit, .*replay identical/);
    expect(replayed.stdout).toMatch(/turn 2: commit, .*replay identical/);
    expect(replayed.stdout).toMatch(/the recording stops before the end of the session/);
    expect(replayed.stdout).toMatch(/steps re-executed .*: identical/);
  });

  test("F-150 killed while a reply is generated, and killed again: each start goes on", async () => {
    const data = join(tempDir(), "data");
    const first = await killedAt(data, /turn 1 +opens/);
    const second = await killedAt(data, /agent +"Welcome/);
    expect(second).not.toBe(first);
    expect(incarnation(data)).toBe(2);
    const third = await rspp([...args(data), "--fast", "--json"]);
    expect(third.status, third.all).toBe(0);
    expect(third.stderr).toMatch(/recovered: \d+ records of earlier runs are whole/);
    expect(verifySpool(reader(data)).ok).toBe(true);
    for (const session of [first, second]) {
      const replayed = await rspp(["replay", session, "--data", data, "--json"]);
      const result = jsonOf<{ identical: boolean; ended: boolean }>(replayed);
      expect([replayed.status, result.identical, result.ended], replayed.all).toEqual([0, true, false]);
    }
  });
});
