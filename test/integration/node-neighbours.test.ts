/** Nodes of each kind that loop, throw, leak and hang at once; those beside them answer as before (F-134). */
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { createSystemClock } from "@rspp/host/system-clock";
import type { NodeBody, NodeHostPort, NodeInstance, NodeSink } from "@rspp/ports/node-host";
import { createRemoteNodes } from "@rspp/remote/node-host";
import { createWorkerHost } from "@rspp/runtime/nodes/worker-host";
import { expect, onTestFinished, test, vi } from "vitest";
import createWabt from "wabt";
import { serveNodes } from "./node-service.ts";

const faulty = fileURLToPath(new URL("../../services/runtime/src/testing/nodes/faulty", import.meta.url));
const MODES = ["loop", "throw", "leak", "hang"] as const;

const module = (body: string, init = ""): string => `(module (import "env" "memory" (memory 2))
  (import "rspp" "emit_text" (func $emit (param i32 i32 i32)))
  (func (export "alloc") (param i32) (result i32) (i32.const 1024)) ${init}
  (func (export "on_event") (param $port i32) (param $kind i32) (param $at i32) (param $len i32) (result i32)
    ${body} (i32.const 0)))`;
/** WebAssembly waits for nothing: what hangs in it loops, in its event or before it is ready. */
const WASM = {
  echo: module("(call $emit (i32.const 0) (local.get $at) (local.get $len))"),
  loop: module("(loop $again (br $again))"),
  throw: module("(unreachable)"),
  leak: module("(loop $again (br_if $again (i32.ne (i32.const -1) (memory.grow (i32.const 1))))) (unreachable)"),
  hang: module("", '(func (export "init") (param i32 i32) (result i32) (loop $again (br $again)) (i32.const 0))'),
};

async function wasmPackages(): Promise<string> {
  const wabt = await createWabt();
  const dir = mkdtempSync(join(tmpdir(), "rspp-neighbours-"));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  const ports = [{ name: "text", type: "text" }];
  for (const [mode, wat] of Object.entries(WASM)) {
    const name = `wasm-${mode}`;
    mkdirSync(join(dir, name));
    const manifest = {
      name,
      version: "1.0.0",
      main: "node.wasm",
      rspp: { scope: "turn", inputs: ports, outputs: ports },
    };
    writeFileSync(join(dir, name, "package.json"), JSON.stringify(manifest));
    const parsed = wabt.parseWat("node.wat", wat);
    writeFileSync(join(dir, name, "node.wasm"), parsed.toBinary({}).buffer);
    parsed.destroy();
  }
  return dir;
}

/** A service whose process may loop for all we know. */
async function serviceProcess(): Promise<NodeHostPort> {
  const script = fileURLToPath(new URL("./node-service.ts", import.meta.url));
  const child = spawn(process.execPath, [script], { stdio: ["pipe", "pipe", "ignore"] });
  onTestFinished(() => void child.kill("SIGKILL"));
  const line = await new Promise<string>((resolve) => createInterface({ input: child.stdout }).once("line", resolve));
  return remote((JSON.parse(line) as { port: number }).port);
}

async function remote(port: number): Promise<NodeHostPort> {
  const host = await createRemoteNodes({ address: `127.0.0.1:${port}`, clock: createSystemClock() });
  onTestFinished(() => host.close());
  return host;
}

class Played {
  readonly lines: string[] = [];
  readonly #node: NodeInstance;
  #heard: () => void = () => undefined;

  constructor(host: NodeHostPort, name: string, mode: string) {
    const say = (line: string): void => {
      this.lines.push(line);
      this.#heard();
    };
    const nothing = (): void => undefined;
    const sink: NodeSink = {
      ready: () => say("ready"),
      emitted: nothing,
      done: (command) => say(`done ${command}`),
      failed: (command, reason) => say(`failed ${command} ${reason}`),
      cancelAcked: nothing,
      telemetry: nothing,
      hotState: nothing,
      stopped: (reason) => say(`stopped ${reason}`),
    };
    const limits = { maxInFlight: 1, eventTimeoutMs: 60_000, hookTimeoutMs: 60_000, memoryMb: 32, cpuPercent: 100 };
    const ids = { tenantId: "t", sessionId: "s", pipelineVersion: "p@1", epoch: 1, turn: 1, seed: "s", hotState: {} };
    const settings = { mode };
    this.#node = host.open(
      { instanceId: `${name}-${mode}`, package: name, node: "own", settings, variables: {}, limits, ...ids },
      sink,
    );
    onTestFinished(() => this.kill());
  }

  async until(line: RegExp): Promise<void> {
    await vi.waitFor(
      () =>
        expect(
          this.lines.some((one) => line.test(one)),
          this.lines.join(" | "),
        ).toBe(true),
      30_000,
    );
  }

  kill(): void {
    this.#node.kill("over");
  }

  event(command: number): void {
    const text: NodeBody = {
      type: "text",
      text: "a",
      segment: 0,
      revision: 1,
      final: true,
      confidence: 1,
      language: "en",
    };
    this.#node.event(command, "text", text, 0);
  }

  /** Milliseconds of the middle one of 30 events, one after the other; each is answered, or the test's time runs out. */
  async median(from: number): Promise<number> {
    const times: number[] = [];
    for (let command = from; command < from + 30; command++) {
      const before = performance.now();
      const done = new Promise<void>((resolve) => {
        this.#heard = () => this.lines.at(-1) === `done ${command}` && resolve();
      });
      this.event(command);
      await done;
      times.push(performance.now() - before);
    }
    return times.toSorted((a, b) => a - b)[15] ?? 0;
  }
}

test("F-134 F-107 four of each kind loop, throw, leak and hang; a worker, a module and a service beside them keep their latencies", async () => {
  const workers = await createWorkerHost({ dirs: [faulty, await wasmPackages()], spares: 0 });
  onTestFinished(() => workers.close());
  const served = await serveNodes();
  onTestFinished(async () => void (await served.stop(0)));
  const [own, looping, others] = await Promise.all([remote(served.port), serviceProcess(), serviceProcess()]);
  const good = [
    new Played(workers, "faulty@1.0.0", "echo"),
    new Played(workers, "wasm-echo@1.0.0", ""),
    new Played(own, "echo@1.0.0", "echo"),
  ];
  await Promise.all(good.map((one) => one.until(/^ready$/)));
  const alone: number[] = [];
  for (const one of good) alone.push(await one.median(1));

  const bad: { kind: string; mode: string; node: Played }[] = [];
  for (const mode of MODES) {
    const kinds = [
      ["worker", workers, "faulty@1.0.0"],
      ["grpc", mode === "loop" ? looping : others, "echo@1.0.0"],
      ["wasm", workers, `wasm-${mode}@1.0.0`],
    ] as const;
    // One after the other: a thread has to start within its time beside all that is busy.
    for (const [kind, host, name] of kinds) {
      const node = new Played(host, name, mode);
      bad.push({ kind, mode, node });
      if (name !== "wasm-hang@1.0.0") await node.until(/^ready$/);
    }
  }
  const never = bad.filter(({ mode }) => mode === "loop" || mode === "hang");
  for (const { node } of bad) node.event(1);

  const among: number[] = [];
  for (const one of good) among.push(await one.median(100));
  // What loops and hangs does so still: nobody waited for its end.
  for (const { kind, mode, node } of never)
    expect(
      node.lines.filter((line) => line !== "ready"),
      `${kind} ${mode}`,
    ).toEqual([]);
  for (const { node } of never) node.kill();
  // Five threads and a process want the cores meanwhile: a share of one is all that may be lost.
  for (const [i, median] of among.entries()) expect(median).toBeLessThan(Math.max(100, 50 * (alone[i] ?? 0)));
  for (const { kind, mode, node } of bad.filter((one) => !never.includes(one))) {
    await node.until(/^(failed|stopped)/);
    const words = `${kind} ${mode}: ${node.lines.at(-1)}`;
    expect(words).toMatch(
      /: (failed 1 (threw|overload)|stopped (threw|out_of_memory|emits_too_much|crashed|protocol_broken))$/,
    );
  }
}, 120_000);
