import { fileURLToPath } from "node:url";
import type { GraphDefinition, NodeDefinition, Settings } from "@rspp/kernel/graph";
import { replayJournal } from "@rspp/kernel/replay";
import { guardedGraph } from "@rspp/kernel/testing/graphs";
import type { NodeHostPort } from "@rspp/ports/node-host";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { RuntimeSession } from "../runtime.ts";
import { type Bench, bench } from "../testing/bench.ts";
import type { FakeTransport } from "../testing/fakes.ts";
import { createNodeHosts, packageName } from "./node-hosts.ts";
import { createWorkerHost } from "./worker-host.ts";

const folder = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

let workers: NodeHostPort & { threads(): number };
let nodes: NodeHostPort;
beforeAll(async () => {
  workers = await createWorkerHost({
    dirs: [folder("../testing/nodes/faulty"), folder("../../../../pipelines/nodes")],
  });
  nodes = createNodeHosts([workers]);
});
afterAll(() => nodes.close());

const LIMITS = { maxInFlight: 1, queueMax: 0, whenFull: "queue", memoryMb: 32 } as const;

function custom(name: string, settings: Settings, hookTimeoutMs = 4_000, eventTimeoutMs = 400): NodeDefinition {
  const found = nodes.describe(name);
  if (found === null) throw new Error(name);
  const { inputs, outputs, digest } = found;
  return {
    id: "own",
    kind: "custom",
    scope: "turn",
    settings,
    candidates: [],
    package: packageName(found),
    packageDigest: digest,
    ports: { inputs, outputs },
    limits: { ...LIMITS, hookTimeoutMs, eventTimeoutMs, cpuPercent: 100 },
  };
}

const graphWith = (node: NodeDefinition): GraphDefinition => guardedGraph([node]);
const words = (line: FakeTransport): string =>
  line.sent.flatMap((m) => (m.kind === "text" && m.role === "assistant" ? [m.text] : [])).join("");

interface Call {
  b: Bench;
  session: RuntimeSession;
  line: FakeTransport;
  errors: string[];
  /** Metrics and control signals, those that stay inside the runtime too. */
  seen: string[];
}

function call(node: NodeDefinition, answer: string, over = {}): Call {
  const b = bench({ nodes, answer });
  const budgets = { turnFirstOutputMs: 20_000, nodeSoftMs: 200, providerAttemptMs: 1_000, cancelGraceMs: 75 };
  const opened = b.open({ graph: graphWith(node), budgets, ...over });
  const errors: string[] = [];
  const seen: string[] = [];
  opened.session.events.subscribe({
    kinds: ["control", "metrics"],
    onReady: (from) => {
      for (let event = from.take(); event !== undefined; event = from.take()) {
        if (event.kind === "metrics") seen.push(event.name);
        if (event.kind !== "control") continue;
        seen.push(event.signal);
        if (event.signal === "node_error") errors.push(event.reason);
      }
    },
  });
  return { b, ...opened, errors, seen };
}

async function ask({ b, line }: Call, turn: number): Promise<string> {
  await b.talk(line, 10, 15);
  await b.until(() => line.signals().includes(`close/${turn}`));
  return line.signals().find((s) => s === `commit/${turn}` || s === `abort/${turn}`) ?? "";
}

const same = ({ session }: Call): void =>
  expect(replayJournal(session.config, session.journal())).toMatchObject({ identical: true, divergences: [] });

describe("F-011 a node package in a running pipeline", () => {
  test("what it makes of the reply is what the caller hears; the replay needs no node", async () => {
    const running = call(
      custom("number-reader@1.0.0", { language: "en", least_digits: 4 }),
      "Your code is 47 11 4711.",
    );
    expect(await ask(running, 1)).toBe("commit/1");
    expect(words(running.line)).toBe("Your code is 47 11 four seven one one.");
    expect(running.errors).toEqual([]);
    same(running);
  });

  test("F-121 a package that is not here, or is not what the pipeline was compiled with, is refused at the door", () => {
    const node = custom("number-reader@1.0.0", {});
    const b = bench({ nodes });
    const code = (over: Partial<NodeDefinition>): string => {
      try {
        b.open({ graph: graphWith({ ...node, ...over }) });
        return "";
      } catch (error) {
        return (error as Error).message;
      }
    };
    expect(code({ package: "number-reader@9.0.0" })).toContain("in node_packages");
    expect(code({ packageDigest: "0".repeat(64) })).toContain("give it a new version");
  });
});

describe("F2 F-134 in a running session: the turn ends by name, the session and its neighbours go on", () => {
  test.each([
    ["loop", "node_timeout"],
    ["hang", "node_timeout"],
    ["throw", "threw"],
    ["throw_later", "threw"],
    ["leak", "out_of_memory"],
  ])("%s: abort(node_timeout_or_failure) after %s", async (mode, error) => {
    const timeout = error === "node_timeout" ? 400 : 15_000;
    const running = call(custom("faulty@1.0.0", { mode }, 4_000, timeout), "Hi there.");
    const other = running.b.open({ sessionId: "neighbour" });
    expect(await ask(running, 1)).toBe("abort/1");
    await running.b.until(() => running.errors.length > 0);
    expect(running.errors).toEqual([error]);
    const reasons = running.line.sent.flatMap((m) => (m.kind === "control" && m.signal === "abort" ? [m.reason] : []));
    expect(reasons).toEqual(["node_timeout_or_failure"]);
    // Words that are given need no node: the session goes on.
    await running.b.talk(other.line, 10, 15);
    await running.b.until(() => other.line.signals().includes("commit/1"));
    expect(running.session.view().phase).toBe("active");
    same(running);
  });

  test("F-107 a node that outgrows its memory is ended; the limit is an event of the session and a metric of the node", async () => {
    const running = call(custom("faulty@1.0.0", { mode: "leak" }, 4_000, 15_000), "Hi there.");
    expect(await ask(running, 1)).toBe("abort/1");
    await running.b.until(() => running.errors.length > 0);
    expect(running.seen.filter((name) => name.startsWith("node_limited"))).toEqual(["node_limited_memory"]);
    const { nodeLimited } = running.b.runtime.metrics.of;
    expect([nodeLimited.with("own", "memory").value, nodeLimited.with("own", "cpu").value]).toEqual([1, 0]);
    same(running);
  });

  test("F-012 a stop hook that hangs is named, and the turn was not held up", async () => {
    const running = call(custom("faulty@1.0.0", { mode: "stop_hang" }, 1_500), "Hi there.");
    expect(await ask(running, 1)).toBe("commit/1");
    await running.b.until(() => running.errors.length > 0);
    expect(running.errors).toEqual(["stop_timeout"]);
    same(running);
  });

  test("F-036 barge-in reaches a loop that polls its token: acknowledged, not ended by force", async () => {
    const running = call(custom("faulty@1.0.0", { mode: "poll" }, 4_000, 15_000), "Hi there.");
    const { b, line, seen } = running;
    await b.talk(line, 10, 2);
    // At once: while the node works virtual time stands still.
    for (let i = 0; i < 13; i++) line.frame(false);
    const ended = b.until(() => seen.includes("cancel_ack") || seen.includes("node_stopped"));
    await expect.poll(() => seen.includes("polling"), { timeout: 10_000 }).toBe(true);
    line.control("cancel", "user_cancel");
    await ended;
    expect(seen).toContain("cancel_ack");
    expect(seen).not.toContain("node_stopped");
    same(running);
  });
});
