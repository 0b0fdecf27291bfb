import { spawn } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { fileURLToPath } from "node:url";
import { asMonoNs, msToNs } from "@rspp/base/brand";
import { createSystemClock } from "@rspp/host/system-clock";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createVirtualClock, type VirtualClock } from "../clock/virtual-clock.ts";
import { createMemoryStore, type MemoryStore } from "./memory-store.ts";
import { openNodeStore } from "./node-store.ts";
import { listSessions, readSession, verifySpool } from "./reader.ts";
import { describeProblem } from "./scan.ts";
import { createSpool, type Spool } from "./spool.ts";

const a = { tenantId: "t", sessionId: "a", epoch: 1 };
const b = { tenantId: "t", sessionId: "b", epoch: 1 };
/** A journal entry of which only the number matters. */
const entry = (index: number) => ({ batch: { index, monoNs: 0, wallMs: 0, inputs: [] }, facts: [], digest: "d" });
const after = (clock: VirtualClock, ms: number) => clock.advanceTo(asMonoNs(clock.nowNs() + msToNs(ms)));

function fresh(options: { disk?: number; segment?: number; store?: MemoryStore } = {}) {
  const store = options.store ?? createMemoryStore();
  const clock = createVirtualClock({ wallOriginMs: 1_700_000_000_000 });
  const open = (): Spool =>
    createSpool({
      store,
      clock,
      ...(options.disk === undefined ? {} : { diskBytesMax: options.disk }),
      ...(options.segment === undefined ? {} : { segmentBytesMax: options.segment }),
    });
  return { store, clock, open, spool: open() };
}

function fill(spool: Spool, records: number): void {
  for (let n = 1; n <= records; n++) {
    spool.line(n % 2 === 0 ? a : b, "journal", JSON.stringify(entry(n)));
    expect(spool.append(a, "evidence", JSON.stringify({ n, text: "x".repeat(n % 50) }), true).ok).toBe(true);
  }
}

describe("spool", () => {
  test("what is appended is read back in order over segments and restarts, chained and verified", () => {
    const { spool, open, store } = fresh({ segment: 2_000 });
    spool.append(a, "session", JSON.stringify({ seed: 1 }));
    fill(spool, 20);
    spool.line(a, "signal", JSON.stringify({ signal: "turn_open" }));
    spool.line(a, "payload", JSON.stringify({ ref: 3, text: "hi" }));
    spool.append(a, "session_end", "{}");
    const again = open();
    expect(again.recovery.problems).toEqual([]);
    expect(again.append(a, "session", JSON.stringify({ seed: 2 })).ok).toBe(true);
    expect(store.list().length).toBeGreaterThan(3);
    const read = again.readSession("a");
    expect(read.problems).toEqual([]);
    expect(read.runs.map((run) => [run.start, run.ended])).toEqual([
      [{ seed: 1 }, true],
      [{ seed: 2 }, false],
    ]);
    const run = read.runs[0];
    expect(run?.entries).toEqual([2, 4, 6, 8, 10, 12, 14, 16, 18, 20].map(entry));
    expect(run?.signals).toEqual([{ signal: "turn_open" }]);
    expect(run?.payloads.get(3)).toEqual({ text: "hi" });
    expect(run?.records.filter((r) => r.kind === "evidence").length).toBe(20);
    expect(verifySpool(store)).toMatchObject({ ok: true });
    expect(listSessions(store).map((s) => s.sessionId)).toEqual(["a"]);
  });

  test("lines are written in groups and synced within 50 ms; marks say appended, synced, exported", () => {
    const { spool, clock, store } = fresh();
    for (let n = 0; n < 10; n++) spool.line(a, "journal", JSON.stringify(entry(n)));
    expect(spool.marks(a)).toEqual({ appended: 0, synced: 0, exported: 0 });
    after(clock, 50);
    expect(spool.marks(a)).toEqual({ appended: 1, synced: 1, exported: 0 });
    spool.append(a, "plan", "{}");
    expect(spool.marks(a)).toEqual({ appended: 2, synced: 1, exported: 0 });
    expect(spool.measures().lagMs).toBe(0);
    store.failNextSync();
    after(clock, 45);
    expect(spool.marks(a).synced).toBe(1);
    after(clock, 50);
    expect(spool.marks(a).synced).toBe(2);
    spool.markExported(a, 99);
    expect(spool.marks(a).exported).toBe(2);
    expect(spool.readSession("a").runs[0]?.entries.length).toBe(10);
  });

  test("exported segments are reclaimed, and what is left still verifies", () => {
    const { spool, open, store } = fresh({ segment: 3_000 });
    fill(spool, 40);
    const before = store.list().length;
    expect(spool.reclaim()).toBe(0);
    spool.flush(b);
    spool.markExported(a, spool.marks(a).appended);
    spool.markExported(b, spool.marks(b).appended);
    expect(spool.reclaim()).toBeGreaterThan(2);
    expect(store.list().length).toBeLessThan(before);
    expect(verifySpool(store).problems.map(describeProblem)).toEqual([]);
    const again = open();
    expect(again.marks(a).appended).toBe(spool.marks(a).appended);
    expect(again.append(a, "evidence", "{}").ok).toBe(true);
    expect(verifySpool(store).ok).toBe(true);
  });

  test("F-154 the mark of a stream that rests outlives the segment it stands in, with the exporter's note", () => {
    const { spool, open, store } = fresh({ segment: 3_000 });
    spool.append(a, "plan", "{}");
    spool.markExported(a, 1, "note");
    for (let round = 0; round < 6; round++) {
      for (let n = 0; n < 20; n++) spool.append(b, "evidence", JSON.stringify({ n, filler: "x".repeat(200) }));
      spool.markExported(b, spool.marks(b).appended);
      spool.reclaim();
    }
    const again = open();
    expect(again.marks(a)).toMatchObject({ appended: 1, exported: 1 });
    expect(again.exportNote(a)).toBe("note");
    expect(again.append(a, "plan", "{}")).toEqual({ ok: true, seq: 2 });
    expect(verifySpool(store).problems.map(describeProblem)).toEqual([]);
  });

  test("evidence is reserved ahead; a full budget refuses others, then the exhausted reservation says so", () => {
    const { spool } = fresh({ disk: 4_000 });
    expect(spool.reserve(a, 2_000)).toBe(true);
    expect(spool.reserve(b, 3_000)).toBe(false);
    const bulk = "y".repeat(1_700);
    expect(spool.append(b, "plan", bulk).ok).toBe(true);
    expect(spool.append(b, "plan", bulk)).toMatchObject({ ok: false, code: "no_space", exhausted: true });
    let appended = 0;
    for (;;) {
      const result = spool.append(a, "evidence", "z".repeat(300), true);
      if (!result.ok) {
        expect(result).toMatchObject({ code: "no_space", exhausted: true });
        break;
      }
      appended += 1;
    }
    expect(appended).toBe(5);
    expect(spool.measures().fill).toBeGreaterThan(0.9);
    spool.release(a);
    expect(spool.measures().reservedBytes).toBe(0);
  });

  test("a failed append leaves the chain whole, torn or not; lines wait and come later", () => {
    const { spool, store, clock, open } = fresh();
    fill(spool, 3);
    store.failNextAppend("io", 0);
    expect(spool.append(a, "plan", "{}")).toMatchObject({ ok: false, code: "io" });
    store.failNextAppend("no_space", 70);
    expect(spool.append(a, "plan", "{}")).toMatchObject({ ok: false, code: "no_space" });
    store.failNextAppend("io", 0);
    spool.line(a, "journal", JSON.stringify(entry(77)));
    after(clock, 45);
    after(clock, 45);
    expect(spool.append(a, "plan", "{}").ok).toBe(true);
    const again = open();
    expect(again.recovery.problems.map((p) => p.kind)).toEqual(["torn"]);
    expect(again.readSession("a").runs[0]?.entries).toContainEqual(entry(77));
    expect(again.verify().ok).toBe(true);
    expect(spool.measures()).toMatchObject({ appendFailures: 3, linesLost: 0 });
  });

  test("F-153 a medium that was full and is not any more takes records again", () => {
    const { spool, store } = fresh();
    store.setCapacity(0);
    expect(spool.append(a, "evidence", "{}", true)).toMatchObject({ ok: false, code: "no_space" });
    store.setCapacity(Number.POSITIVE_INFINITY);
    expect(spool.append(a, "evidence", "{}", true).ok).toBe(true);
  });

  test("F-156 a stale epoch is refused; the next epoch's chain links to the one before", () => {
    const { spool, open, store } = fresh();
    fill(spool, 2);
    spool.line(a, "signal", "{}");
    spool.succeed(a, 2);
    const next = { tenantId: "t", sessionId: "a", epoch: 2 };
    expect(spool.append(next, "evidence", "{}").ok).toBe(true);
    expect(spool.append(a, "evidence", "{}", true)).toMatchObject({ ok: false, code: "stale_epoch" });
    spool.line(a, "journal", "{}");
    expect(spool.measures().staleRefused).toBe(2);
    const again = open();
    expect(again.floor(a)).toBe(2);
    expect(again.append(a, "evidence", "{}")).toMatchObject({ ok: false, code: "stale_epoch" });
    again.raiseFloor(a, 5);
    expect(again.append(next, "evidence", "{}")).toMatchObject({ ok: false, code: "stale_epoch" });
    expect(again.readSession("a").runs[0]?.signals.length).toBe(1);
    expect(verifySpool(store).ok).toBe(true);
  });

  test("every truncation point: records before it are there, the torn one is found and mended", () => {
    const source = fresh();
    fill(source.spool, 6);
    const name = source.store.list()[0] ?? "";
    const bytes = source.store.read(name);
    const ends: number[] = [];
    for (let at = 0; at < bytes.length; ) {
      at += 16 + Buffer.from(bytes.buffer, bytes.byteOffset + at).readUInt32LE(4);
      ends.push(at);
    }
    for (let cut = 0; cut <= bytes.length; cut++) {
      const store = createMemoryStore();
      if (cut > 0) store.append(name, bytes.subarray(0, cut));
      const { spool } = fresh({ store });
      const whole = ends.filter((end) => end <= cut);
      expect(spool.recovery.records).toBe(whole.length);
      const problems = spool.recovery.problems.map((p) => [p.kind, p.offset]);
      expect(problems).toEqual(cut === 0 || cut === whole.at(-1) ? [] : [["torn", whole.at(-1) ?? 0]]);
      expect(verifySpool(store).ok).toBe(true);
      expect(spool.append(a, "plan", "{}").ok).toBe(true);
      expect(verifySpool(store).ok).toBe(true);
    }
  });

  test("every bit flip is found and named by segment and offset; the records behind it are still read", () => {
    const source = fresh();
    fill(source.spool, 4);
    const name = source.store.list()[0] ?? "";
    const bytes = source.store.read(name);
    const total = verifySpool(source.store).records;
    for (let offset = 0; offset < bytes.length; offset++) {
      const store = createMemoryStore();
      store.append(name, bytes);
      store.flip(name, offset, offset % 8);
      const verdict = verifySpool(store);
      const { records, problems } = verdict;
      expect(verdict.ok, `flip at ${offset}`).toBe(false);
      expect(records).toBe(total - 1);
      expect(problems[0]?.kind).toBe("altered");
      expect(describeProblem(problems[0]!)).toMatch(/^segment 0000000001, offset \d+: /);
      expect(readSession(store, "a").problems.length).toBeGreaterThan(0);
    }
  });

  test("any bytes at all: a clear verdict, never a crash", () => {
    const source = fresh();
    fill(source.spool, 5);
    const name = source.store.list()[0] ?? "";
    const bytes = source.store.read(name);
    const edit = fc.record({ at: fc.nat(bytes.length - 1), cut: fc.nat(200), put: fc.uint8Array({ maxLength: 200 }) });
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 4 }), (edits) => {
        let mangled = Buffer.from(bytes);
        for (const { at, cut, put } of edits) {
          mangled = Buffer.concat([mangled.subarray(0, at), put, mangled.subarray(at + cut)]);
        }
        const store = createMemoryStore();
        store.append(name, mangled);
        verifySpool(store).problems.map(describeProblem);
        const { spool } = fresh({ store });
        expect(spool.append(a, "evidence", "{}").ok).toBe(true);
        readSession(store, "a");
      }),
      { numRuns: 300 },
    );
  });

  test("a record taken out, or swapped for another with right checksums, breaks the chain", () => {
    const one = fresh();
    fill(one.spool, 3);
    const other = fresh();
    for (let n = 1; n <= 3; n++) other.spool.append(a, "evidence", JSON.stringify({ forged: n }));
    const name = one.store.list()[0] ?? "";
    const cutOut = createMemoryStore();
    const bytes = one.store.read(name);
    const first = 16 + Buffer.from(bytes).readUInt32LE(4);
    cutOut.append(name, bytes.subarray(first));
    expect(verifySpool(cutOut).problems.map((p) => p.kind)).toContain("gap");
    const forged = createMemoryStore();
    const forgedBytes = other.store.read(name);
    forged.append(name, forgedBytes.subarray(0, 16 + Buffer.from(forgedBytes).readUInt32LE(4)));
    forged.append(name, bytes.subarray(first));
    expect(verifySpool(forged).problems.map((p) => p.kind)).toContain("chain");
  });

  test("a crash of the machine keeps what was synced, whatever else it keeps", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 12 }), fc.nat(4_000), (records, keep) => {
        const { spool, store, clock, open } = fresh();
        fill(spool, records);
        after(clock, 50);
        const synced = spool.marks(a).synced;
        fill(spool, 3);
        store.crash(() => keep);
        const again = open();
        expect(again.marks(a).appended).toBeGreaterThanOrEqual(synced);
        expect(again.recovery.problems.every((p) => p.kind === "torn")).toBe(true);
        expect(again.verify().ok).toBe(true);
      }),
      { numRuns: 60 },
    );
  });
});

describe("spool in files", () => {
  test("kill -9 in mid-append, 30 times: acknowledged records are there, torn ones are found", async () => {
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), "rspp-spool-"));
    const child = fileURLToPath(new URL("./crash-child.ts", import.meta.url));
    let torn = 0;
    let acknowledged = 0;
    try {
      for (let cycle = 0; cycle < 30; cycle++) {
        acknowledged = Math.max(acknowledged, await killAfter(child, directory, cycle));
        const reader = openNodeStore(directory, { readOnly: true });
        if (!reader.ok) throw new Error(reader.error.detail);
        const verdict = verifySpool(reader.value);
        expect(verdict.problems.every((p) => p.kind === "torn")).toBe(true);
        torn += verdict.problems.length;
        const run = readSession(reader.value, "crash").runs[0];
        const evidence = run?.records.map((r) => r.seq) ?? [];
        expect(Math.max(0, ...evidence)).toBeGreaterThanOrEqual(acknowledged);
        expect(run?.entries.length).toBeGreaterThanOrEqual(evidence.length);
      }
      expect(acknowledged).toBeGreaterThan(30);
      expect(torn).toBeGreaterThan(5);
      const store = openNodeStore(directory);
      if (!store.ok) throw new Error(store.error.detail);
      const spool = createSpool({ store: store.value, clock: createSystemClock() });
      expect(spool.recovery.problems.length).toBeLessThanOrEqual(1);
      expect(openNodeStore(directory).ok).toBe(true);
      await spool.close();
    } finally {
      fs.rmSync(directory, { recursive: true, force: true });
    }
  });

  test("NF-012 what callers said is its owner's alone to read, also in a folder that others could look into", () => {
    const root = fs.mkdtempSync(path.join(os.tmpdir(), "rspp-spool-"));
    const directory = path.join(root, "data", "spool");
    const modes = () => [".", ...fs.readdirSync(directory)].map((name) => modeOf(path.join(directory, name)));
    const modeOf = (file: string) => (fs.statSync(file).mode & 0o777).toString(8);
    const write = (text: string) => {
      const store = openNodeStore(directory);
      if (!store.ok) throw new Error(store.error.detail);
      expect(store.value.append(text, new TextEncoder().encode(text))).toBe(null);
      return store.value;
    };
    try {
      const first = write("1");
      expect(modes()).toEqual(["700", "600", "600"]);
      first.close();
      fs.chmodSync(directory, 0o755);
      for (const name of fs.readdirSync(directory)) fs.chmodSync(path.join(directory, name), 0o644);
      const second = write("2");
      expect(modes()).toEqual(["700", "600", "600", "600"]);
      second.close();
      // Readers change nothing, and whoever runs embedded services may pass the data directory.
      expect(openNodeStore(directory, { readOnly: true }).ok).toBe(true);
      expect(modeOf(path.dirname(directory))).toBe((0o777 & ~process.umask()).toString(8));
    } finally {
      fs.rmSync(root, { recursive: true, force: true });
    }
  });

  test("a folder in use, and one that cannot be, are told apart and say what to do", () => {
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), "rspp-spool-"));
    try {
      fs.writeFileSync(path.join(directory, "spool.lock"), "1");
      expect(openNodeStore(directory)).toMatchObject({ ok: false, error: { code: "in_use" } });
      fs.writeFileSync(path.join(directory, "spool.lock"), "999999999");
      const taken = openNodeStore(directory);
      expect(taken.ok).toBe(true);
      if (taken.ok) taken.value.close();
      fs.writeFileSync(path.join(directory, "file"), "");
      expect(openNodeStore(path.join(directory, "file"))).toMatchObject({ ok: false, error: { code: "io" } });
    } finally {
      fs.rmSync(directory, { recursive: true, force: true });
    }
  });
});

/** Kills the child in mid-run: by its own hand after some written pieces, or by ours after some acknowledgements. */
function killAfter(child: string, directory: string, cycle: number): Promise<number> {
  const byItself = cycle % 2 === 0;
  const acksMax = byItself ? Number.POSITIVE_INFINITY : 3 + ((cycle * 7) % 23);
  const args = [child, directory, ...(byItself ? [String(40 + ((cycle * 37) % 101))] : [])];
  return new Promise((resolve, reject) => {
    const run = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
    let text = "";
    run.stdout.on("data", (chunk: Buffer) => {
      text += chunk.toString("utf8");
      if (text.split("ack ").length - 1 >= acksMax) run.kill("SIGKILL");
    });
    run.on("error", reject);
    run.on("close", (_code, signal) => {
      if (signal !== "SIGKILL") return reject(new Error(`the child ended by itself: ${text.slice(-200)}`));
      const lines = text
        .split("\n")
        .slice(0, -1)
        .filter((line) => line.startsWith("ack "));
      resolve(Number(lines.at(-1)?.slice(4) ?? 0));
    });
  });
}
