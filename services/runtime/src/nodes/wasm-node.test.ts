import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { NodeBody, NodeHostPort, NodeInstance, NodeSink } from "@rspp/ports/node-host";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import createWabt from "wabt";
import { readMemory } from "./wasm-binary.ts";
import { createWorkerHost } from "./worker-host.ts";

const examples = fileURLToPath(new URL("../../../../pipelines/nodes/wasm-gain", import.meta.url));
const wabt = await createWabt();
const dir = mkdtempSync(join(tmpdir(), "rspp-wasm-"));

function assemble(wat: string): Uint8Array {
  const module = wabt.parseWat("node.wat", wat);
  try {
    return module.toBinary({}).buffer;
  } finally {
    module.destroy();
  }
}

const text = [{ name: "text", type: "text" }] as const;

/** A package folder with one module. */
function pack(name: string, wat: string, declared: object = { scope: "turn", inputs: text, outputs: text }): string {
  const at = join(dir, name);
  mkdirSync(at, { recursive: true });
  const manifest = { name, version: "1.0.0", main: "node.wasm", ...(declared === null ? {} : { rspp: declared }) };
  writeFileSync(join(at, "package.json"), JSON.stringify(manifest));
  writeFileSync(join(at, "node.wasm"), assemble(wat));
  return at;
}

const memory = '(import "env" "memory" (memory 2))';
const alloc = '(func (export "alloc") (param i32) (result i32) (i32.const 1024))';
const event = (body: string): string =>
  `(func (export "on_event") (param $port i32) (param $kind i32) (param $at i32) (param $len i32) (result i32) ${body} (i32.const 0))`;

/** Says the text again, its number as metric and a random number in its log; `init` writes what it was given to the log. */
const ECHO = `(module ${memory}
  (import "rspp" "emit_text" (func $emit (param i32 i32 i32)))
  (import "rspp" "emit_metric" (func $metric (param i32 i32 f64)))
  (import "rspp" "attribute" (func $attribute (param i32) (result f64)))
  (import "rspp" "random" (func $random (result f64)))
  (import "rspp" "log" (func $log (param i32 i32 i32)))
  (data (i32.const 16) "segment")
  ${alloc}
  (func (export "init") (param i32 i32) (result i32) (call $log (i32.const 1) (local.get 0) (local.get 1)) (i32.const 0))
  ${event(`
    (if (i32.eq (local.get $kind) (i32.const 1)) (then
      (call $metric (i32.const 16) (i32.const 7) (call $attribute (i32.const 2)))
      (call $metric (i32.const 16) (i32.const 7) (call $random))
      (call $emit (i32.const 0) (local.get $at) (local.get $len))))`)})`;
const LOOP = `(module ${memory} ${alloc} ${event("(loop $again (br $again))")})`;
const POLITE_LOOP = `(module ${memory} (import "rspp" "cancelled" (func $cancelled (result i32))) ${alloc}
  ${event("(loop $again (br_if $again (i32.eqz (call $cancelled))))")})`;
const TRAP = `(module ${memory} ${alloc} ${event("(unreachable)")})`;
const REFUSES = `(module ${memory} ${alloc} (func (export "on_event") (param i32 i32 i32 i32) (result i32) (i32.const 7)))`;
/** Grows until there is no more, then says how many pages it got. */
const GREEDY = `(module ${memory} (import "rspp" "emit_metric" (func $metric (param i32 i32 f64))) (data (i32.const 16) "pages")
  ${alloc}
  ${event(`
    (loop $again (br_if $again (i32.ne (i32.const -1) (memory.grow (i32.const 1)))))
    (call $metric (i32.const 16) (i32.const 5) (f64.convert_i32_u (memory.size)))`)})`;
const OUTSIDE = `(module ${memory} (import "rspp" "emit_text" (func $emit (param i32 i32 i32))) ${alloc}
  ${event("(call $emit (i32.const 0) (i32.const -16) (i32.const 64))")})`;

let host: NodeHostPort;
beforeAll(async () => {
  const modules = { echo: ECHO, loop: LOOP, polite: POLITE_LOOP, trap: TRAP, refuses: REFUSES, greedy: GREEDY };
  const dirs = Object.entries({ ...modules, outside: OUTSIDE }).map(([name, wat]) => pack(name, wat));
  host = await createWorkerHost({ dirs: [examples, ...dirs] });
});
afterAll(async () => {
  await host.close();
  rmSync(dir, { recursive: true });
});

interface Played {
  readonly instance: NodeInstance;
  readonly lines: string[];
  readonly bodies: NodeBody[];
  until(line: string | RegExp): Promise<void>;
}

function open(name: string, memoryMb = 16): Played {
  const lines: string[] = [];
  const bodies: NodeBody[] = [];
  const sink: NodeSink = {
    ready: () => lines.push("ready"),
    emitted: (command, index, port, body) => {
      bodies.push(body);
      lines.push(`emitted ${command}.${index} ${port}`);
    },
    done: (command) => lines.push(`done ${command}`),
    failed: (command, reason) => lines.push(`failed ${command} ${reason}`),
    cancelAcked: (command) => lines.push(`acked ${command}`),
    telemetry: (told) =>
      lines.push(told.kind === "metric" ? `${told.name} ${told.value}` : told.kind === "log" ? told.text : told.kind),
    hotState: () => undefined,
    stopped: (reason) => lines.push(`stopped ${reason}`),
  };
  const limits = { maxInFlight: 1, eventTimeoutMs: 2_000, hookTimeoutMs: 5_000, memoryMb, cpuPercent: 100 };
  const ids = { tenantId: "t", sessionId: "s", pipelineVersion: "p@1", epoch: 1, turn: 1, seed: "seed", hotState: {} };
  const given = { settings: { loud: true }, variables: { city: "Ulm" } };
  const instance = host.open(
    { instanceId: name, package: `${name}@1.0.0`, node: "own", limits, ...ids, ...given },
    sink,
  );
  const until = async (line: string | RegExp): Promise<void> => {
    const there = (one: string): boolean => (typeof line === "string" ? one === line : line.test(one));
    await vi.waitFor(() => expect(lines.some(there), `${String(line)} in ${lines.join(" | ")}`).toBe(true), 15_000);
  };
  return { instance, lines, bodies, until };
}

const say = (words: string): NodeBody => ({
  ...{ type: "text", text: words, segment: 3, revision: 1, final: true, confidence: 1, language: "en" },
});

describe("F-124 nodes of WebAssembly", () => {
  test("text in and out, settings and variables, attributes, a random stream of its own that repeats", async () => {
    const runs = await Promise.all(
      [1, 2].map(async () => {
        const node = open("echo");
        await node.until("ready");
        node.instance.event(1, "text", say("grüß dich"), 0);
        await node.until("done 1");
        return node;
      }),
    );
    for (const { bodies, lines } of runs) {
      expect(bodies).toEqual([say("grüß dich")]);
      expect(lines).toContain('{"settings":{"loud":true},"variables":{"city":"Ulm"}}');
      expect(lines).toContain("segment 3");
    }
    expect(runs[0]?.lines).toEqual(runs[1]?.lines);
  });

  test("the example makes audio twice as loud, clipped; its binary is its text, assembled", async () => {
    expect(new Uint8Array(readFileSync(join(examples, "node.wasm")))).toEqual(
      assemble(readFileSync(join(examples, "node.wat"), "utf8")),
    );
    const node = open("wasm-gain");
    await node.until("ready");
    const samples = Int16Array.from([0, 1, -1, 1_000, -1_000, 20_000, -20_000, 32_767, -32_768]);
    const audio = {
      type: "audio",
      codec: "pcm_s16le",
      rateHz: 16_000,
      channels: 1,
      mediaUs: 0,
      durationUs: 563,
    } as const;
    node.instance.event(1, "audio", { ...audio, bytes: new Uint8Array(samples.slice().buffer) }, 0);
    await node.until("done 1");
    const made = node.bodies[0];
    const loud = samples.map((sample) => Math.max(-32_768, Math.min(32_767, 2 * sample)));
    expect(made?.type === "audio" ? new Int16Array(made.bytes.slice().buffer) : null).toEqual(loud);
    // More than its memory holds at first: it asks for more and gets it.
    node.instance.event(2, "audio", { ...audio, bytes: new Uint8Array(200_000) }, 0);
    await node.until("done 2");
    expect(node.bodies[1]).toMatchObject({ type: "audio", durationUs: 6_250_000 });
  });

  test("memory has a maximum: what grows gets no more than memory_mb", async () => {
    const node = open("greedy", 4);
    await node.until("ready");
    node.instance.event(1, "text", say("x"), 0);
    await node.until("done 1");
    expect(node.lines).toContain(`pages ${(4 * 2 ** 20) / 65_536}`);
  });

  test("F-036 a loop that asks stops and acknowledges; one that does not is ended with its worker, no neighbour waits", async () => {
    const neighbour = open("echo");
    await neighbour.until("ready");
    const polite = open("polite");
    await polite.until("ready");
    polite.instance.event(1, "text", say("x"), 0);
    polite.instance.cancel(1, "barge_in");
    await polite.until("acked 1");
    const deaf = open("loop");
    await deaf.until("ready");
    deaf.instance.event(1, "text", say("x"), 0);
    deaf.instance.cancel(1, "barge_in");
    neighbour.instance.event(1, "text", say("x"), 0);
    await neighbour.until("done 1");
    expect(deaf.lines).toEqual(["ready"]);
    deaf.instance.kill("node_timeout");
    neighbour.instance.event(2, "text", say("x"), 0);
    await neighbour.until("done 2");
  });

  test.each([
    ["trap", "threw"],
    ["refuses", "threw"],
    ["outside", "threw"],
  ])("%s: the event fails by name, twice, and the host lives", async (name, reason) => {
    const node = open(name);
    await node.until("ready");
    node.instance.event(1, "text", say("x"), 0);
    await node.until(`failed 1 ${reason}`);
    node.instance.event(2, "text", say("x"), 0);
    await node.until(`failed 2 ${reason}`);
  });
});

describe("what a module may reach is looked at before it runs", () => {
  const refusal = (at: string): Promise<string> =>
    createWorkerHost({ dirs: [at] }).then(
      async (opened) => {
        await opened.close();
        return "";
      },
      (failure: Error) => failure.message,
    );

  test.each([
    [
      "files",
      `(module ${memory} (import "wasi_snapshot_preview1" "fd_read" (func (param i32 i32 i32 i32) (result i32))) ${alloc} ${event("")})`,
      "wasi_snapshot_preview1.fd_read",
    ],
    [
      "a function nobody knows",
      `(module ${memory} (import "rspp" "fetch" (func)) ${alloc} ${event("")})`,
      "rspp.fetch",
    ],
    ["memory of its own", `(module (memory 1) ${alloc} ${event("")})`, "import it as env.memory"],
    ["no alloc", `(module ${memory} ${event("")})`, "exports no function `alloc`"],
  ])("%s: refused, with the folder and the remedy", async (name, wat, words) => {
    const at = pack(`bad-${name.replaceAll(/[^a-z]+/g, "-")}`, wat);
    const message = await refusal(at);
    expect(message).toContain(at);
    expect(message).toContain(words);
  });

  test("a package that declares nothing, and one that is no module", async () => {
    expect(await refusal(pack("undeclared", ECHO, null as unknown as object))).toContain("`rspp` is missing");
    const at = pack("garbage", ECHO);
    writeFileSync(join(at, "node.wasm"), "no module");
    expect(await refusal(at)).toContain("does not compile");
  });

  test("the memory import is read from any module the assembler makes", () => {
    fc.assert(
      fc.property(
        fc.nat(300),
        fc.option(fc.integer({ min: 300, max: 65_536 })),
        fc.boolean(),
        fc.nat(3),
        (initial, maximum, shared, before) => {
          const functions = Array.from({ length: before }, (_, i) => `(import "rspp" "f${i}" (func (param f64)))`);
          const others = '(import "env" "t" (table 1 2 funcref)) (import "env" "g" (global (mut i64)))';
          const most = maximum === null ? "" : ` ${maximum}`;
          const own = shared ? "" : '(func (export "x"))';
          const wat = `(module ${functions.join(" ")} ${others} (import "env" "memory" (memory ${initial}${most})) ${own})`;
          const expected = { own: 0, imported: { module: "env", name: "memory", initial, maximum } };
          expect(readMemory(assemble(wat))).toEqual(expected);
        },
      ),
      { numRuns: 50 },
    );
  });
});
