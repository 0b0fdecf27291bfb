/** A node in Python, over generated stubs, in a running pipeline (F-122). */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { createSystemClock } from "@rspp/host/system-clock";
import type { NodeDefinition } from "@rspp/kernel/graph";
import { replayJournal } from "@rspp/kernel/replay";
import { guardedGraph } from "@rspp/kernel/testing/graphs";
import type { NodeHostPort } from "@rspp/ports/node-host";
import { createRemoteNodes } from "@rspp/remote/node-host";
import { createNodeHosts, packageName } from "@rspp/runtime/nodes/node-hosts";
import { bench } from "@rspp/runtime/testing/bench";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { has, pythonClient, root } from "./tools.ts";

const BUILD_MS = 600_000;
const withPython = await has("python3", "-c", "import venv");

let python: ChildProcess | null = null;
let nodes: NodeHostPort;

beforeAll(async () => {
  if (!withPython) return;
  const tool = await pythonClient();
  const script = join(root, "test/polyglot/python/node.py");
  python = spawn(tool.file, [script], { env: { ...process.env, ...tool.env }, stdio: ["pipe", "pipe", "inherit"] });
  if (python.stdout === null) throw new Error("no output");
  const [port] = (await once(createInterface({ input: python.stdout }), "line")) as [string];
  const remote = await createRemoteNodes({ address: `127.0.0.1:${port}`, clock: createSystemClock() });
  nodes = createNodeHosts([remote]);
}, BUILD_MS);

afterAll(async () => {
  await nodes?.close();
  if (python === null || python.exitCode !== null || python.signalCode !== null) return;
  const gone = once(python, "exit");
  python.stdin?.end();
  await gone;
});

function initials(): NodeDefinition {
  const found = nodes.describe("initials@1.0.0");
  if (found === null) throw new Error("the node host does not describe its package");
  const limits = { maxInFlight: 1, queueMax: 0, whenFull: "queue", memoryMb: 32, cpuPercent: 100 } as const;
  return {
    ...{ id: "own", kind: "custom", scope: "turn", settings: {}, candidates: [] },
    package: packageName(found),
    packageDigest: found.digest,
    ports: { inputs: found.inputs, outputs: found.outputs },
    limits: { ...limits, hookTimeoutMs: 4_000, eventTimeoutMs: 2_000 },
  };
}

describe("a node in python", () => {
  test.skipIf(!withPython)(
    "F-122 what it makes of the reply is what the caller reads; the replay needs no Python",
    async () => {
      const b = bench({ nodes, answer: "we open at nine and close at five." });
      const budgets = { turnFirstOutputMs: 20_000, nodeSoftMs: 1_000, providerAttemptMs: 1_000, cancelGraceMs: 75 };
      const { session, line } = b.open({ graph: guardedGraph([initials()]), budgets });
      await b.talk(line, 10, 15);
      await b.until(() => line.signals().includes("commit/1"));
      const said = line.sent.flatMap((m) => (m.kind === "text" && m.role === "assistant" ? [m.text] : [])).join("");
      expect(said).toBe("We Open At Nine And Close At Five.");
      expect(replayJournal(session.config, session.journal())).toMatchObject({ identical: true, divergences: [] });
    },
  );

  test.skipIf(!withPython)(
    "F-123 F-134 killed in the middle of a call: its turn ends by name, the session goes on",
    async () => {
      const b = bench({ nodes, answer: "we open at nine." });
      const budgets = { turnFirstOutputMs: 20_000, nodeSoftMs: 1_000, providerAttemptMs: 1_000, cancelGraceMs: 75 };
      const { session, line } = b.open({ graph: guardedGraph([initials()]), budgets });
      python?.kill("SIGKILL");
      await b.talk(line, 10, 15);
      await b.until(() => line.signals().includes("close/1"));
      expect(line.signals()).toContain("abort/1");
      expect(session.view().phase).toBe("active");
      expect(replayJournal(session.config, session.journal())).toMatchObject({ identical: true, divergences: [] });
    },
  );
});
