/** The tool-using pipeline in real time: shipped runtime, gateway and line, sim providers, a real webhook and MCP server. */

import { readFileSync } from "node:fs";
import type { MonoNs } from "@rspp/base/brand";
import { createSystemClock } from "@rspp/host/system-clock";
import type { NodeDefinition } from "@rspp/kernel/graph";
import type { SessionConfig } from "@rspp/kernel/session-config";
import { createProviderGateway } from "@rspp/provider-gateway/gateway";
import { createSimLlm } from "@rspp/provider-gateway/sim/llm";
import { createSimStt } from "@rspp/provider-gateway/sim/stt";
import { createSimTts } from "@rspp/provider-gateway/sim/tts";
import { type McpHits, startMcpServer } from "@rspp/provider-gateway/testing/mcp-server";
import { startWebhook, type Webhook } from "@rspp/provider-gateway/testing/tool-servers";
import { toolAccess } from "@rspp/provider-gateway/tools/access";
import { createHttpTool } from "@rspp/provider-gateway/tools/http";
import { createMcpTool } from "@rspp/provider-gateway/tools/mcp";
import { createRuntime } from "@rspp/runtime/runtime";
import { createMemoryStore } from "@rspp/runtime/spool/memory-store";
import { createSpool } from "@rspp/runtime/spool/spool";
import { compileSpec } from "@rspp/spec/compile-spec";
import { parseSpec } from "@rspp/spec/parse-spec";
import { expect } from "vitest";
import { sessionConfigOf } from "../../cli/src/pipeline.ts";
import { levelVad, listening, type Messages, type Rig } from "./rig.ts";

export interface ToolRig extends Rig {
  readonly hook: Webhook;
  readonly mcp: McpHits;
  /** The shipped pipeline with this rig's servers; each transcript is what one utterance says. */
  config(sessionId: string, transcripts: readonly string[], deadlineMs?: number): SessionConfig;
  close(): Promise<void>;
}

const shipped = readFileSync(new URL("../../pipelines/specs/tool-assistant.yaml", import.meta.url), "utf8");

export async function createToolRig(): Promise<ToolRig> {
  const clock = createSystemClock();
  const [hook, server] = await Promise.all([startWebhook(), startMcpServer()]);
  const access = toolAccess({ origins: [hook.origin, server.origin], commands: [], secrets: [] });
  const told = new Map<string, Messages>();
  const models = [listening(createSimLlm({ clock }), told), createSimTts({ clock }), createSimStt({ clock })];
  const tools = [createHttpTool({ clock, access }), createMcpTool({ clock, access })];
  const gateway = createProviderGateway({ clock, providers: [...models, ...tools] });
  const store = createMemoryStore();
  const spool = createSpool({ store, clock });
  const runtime = createRuntime({ clock, providers: gateway, vad: levelVad(), spool });
  const until = async (done: () => boolean, maxMs = 15_000): Promise<void> => {
    const end = performance.now() + maxMs;
    while (!done() && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(done()).toBe(true);
  };
  return {
    clock: clock as unknown as Rig["clock"],
    store,
    spool,
    gateway,
    runtime,
    told,
    batches: [],
    hook,
    mcp: server.hits,
    until,
    pass: (ms) => {
      const end = performance.now() + ms;
      return until(() => performance.now() >= end, ms + 1_000);
    },
    config: (sessionId, transcripts, deadlineMs) =>
      configOf([hook.origin, server.origin], sessionId, transcripts, deadlineMs),
    close: async () => {
      await gateway.close();
      await Promise.all([hook.close(), server.close()]);
    },
  };
}

function configOf(
  [webhook = "", mcp = ""]: readonly string[],
  sessionId: string,
  transcripts: readonly string[],
  deadlineMs: number | undefined,
): SessionConfig {
  const text = shipped.replaceAll("http://127.0.0.1:8791", webhook).replaceAll("http://127.0.0.1:8792", mcp);
  const spec = parseSpec(text, "tool-assistant.yaml");
  if (!spec.ok) throw new Error(spec.error.map(({ message }) => message).join("; "));
  const compiled = compileSpec(spec.value);
  if (!compiled.ok) throw new Error(compiled.error.map(({ message }) => message).join("; "));
  const nodes = compiled.value.graph.nodes.map((node): NodeDefinition => {
    const own = node.candidates[0]?.settings ?? {};
    const settings = node.kind === "stt" ? { ...own, transcripts } : own;
    const simulated = node.candidates.length === 0 ? [] : [{ provider: `sim/${node.kind}`, settings }];
    const tools = node.tools?.map((tool) => ({ ...tool, deadlineMs: deadlineMs ?? tool.deadlineMs }));
    return { ...node, candidates: simulated, ...(tools === undefined ? {} : { tools }) };
  });
  const pipeline = { ...compiled.value, graph: { ...compiled.value.graph, nodes } };
  const authority = { epoch: 1, incarnation: "test-1", deadlineNs: 1e18 as MonoNs };
  return sessionConfigOf(pipeline, { sessionId, authority, seed: sessionId, recording: "L1" });
}
