/** An assistant whose model has tools, for tests. */
import type { NodeDefinition, SideEffect, ToolDefinition, ToolLimits } from "../graph.ts";
import type { InputBody } from "../input.ts";
import { assistantGraph, KernelHarness, POLICY, testConfig } from "./harness.ts";

export function tool(
  name: string,
  sideEffect: SideEffect = "none",
  over: Partial<ToolDefinition> = {},
): ToolDefinition {
  return {
    name,
    description: `does ${name}`,
    parameters: '{"type":"object"}',
    sideEffect,
    deadlineMs: 3_000,
    candidates: [{ provider: "tool/http", settings: { url: "http://tools.test/" } }],
    ...over,
  };
}

export const TOOL_LIMITS: ToolLimits = {
  perTurnMax: 8,
  roundsMax: 3,
  parallelMax: 2,
  resultBytesMax: 1_000,
  lateResult: "note",
};

export const TOOLS = [
  tool("balance", "none", { filler: { text: "One moment. ", afterMs: 500 } }),
  tool("order", "side_effecting"),
  tool("lookup", "idempotent"),
];

export function withTools(
  h: Parameters<typeof assistantGraph>[0],
  tools: readonly ToolDefinition[],
  limits: Partial<ToolLimits>,
) {
  const graph = assistantGraph(h);
  const nodes = graph.nodes.map(
    (node): NodeDefinition =>
      node.kind === "llm" && tools.length > 0 ? { ...node, tools, toolLimits: { ...TOOL_LIMITS, ...limits } } : node,
  );
  return { ...graph, nodes };
}

/** Connected, nothing said yet. */
export function toolCall(
  over: Partial<ToolLimits> = {},
  tools: readonly ToolDefinition[] = TOOLS,
  policy: Partial<typeof POLICY> = {},
): KernelHarness {
  const h = new KernelHarness(
    testConfig(withTools({ llm: ["sim/llm", "b/llm"], endpointing: { speculate_ms: 40 } }, tools, over), {
      policy: { ...POLICY, ...policy },
    }),
  );
  h.connect();
  return h;
}

export function callChunk(h: KernelHarness, name: string, args = "{}", callId = `call_${name}`): InputBody {
  const invocation = h.open("llm");
  return {
    type: "provider_chunk",
    invocation,
    index: h.chunkIndex(invocation),
    chunk: {
      type: "tool_call",
      payload: { ref: h.ref(args), hash: "", bytes: args.length },
      chars: args.length,
      callId,
      name,
    },
  };
}

/** The model's answer calls these, and ends. */
export function calls(h: KernelHarness, ...names: readonly string[]): void {
  const llm = h.open("llm");
  h.feed(...names.map((name, i) => callChunk(h, name, `{"n":${i}}`, `call_${name}_${i}`)), h.outcome(llm));
}

/** Open tool invocations, oldest first. */
export function openTools(h: KernelHarness): number[] {
  return Object.values(h.state.invocations)
    .filter(({ modality, status }) => modality === "tool" && status === "open")
    .map(({ id }) => id);
}

export function answers(h: KernelHarness, invocation: number, result: string): void {
  h.feed(h.textChunk(invocation, result), h.outcome(invocation));
}

/** What the model was asked last, calls and results too. */
export function askedWith(h: KernelHarness): string[] {
  const pushed = h.log.findLast(({ effect }) => effect.type === "provider_push_messages")?.effect;
  if (pushed?.type !== "provider_push_messages") return [];
  return pushed.messages.map(({ role, spans, toolCalls, callId }) => {
    const called = toolCalls?.map((call) => `${call.callId}:${call.name}(${h.text(call.spans)})`).join(" ") ?? "";
    return [role, callId, h.text(spans).trim(), called].filter(Boolean).join(" ");
  });
}

export function offered(h: KernelHarness): readonly string[] | undefined {
  const pushed = h.log.findLast(({ effect }) => effect.type === "provider_push_messages")?.effect;
  return pushed?.type === "provider_push_messages" ? pushed.tools : undefined;
}

export function opens(h: KernelHarness): string[] {
  return h.log.flatMap(({ effect }) =>
    effect.type === "provider_open" && effect.modality === "tool"
      ? [`${effect.tool?.name} ${effect.idempotencyKey}`]
      : [],
  );
}

export function cancels(h: KernelHarness): number[] {
  return h.log.flatMap(({ effect }) => (effect.type === "provider_cancel" ? [effect.invocation] : []));
}
