/** Tools that answer as a test script says, in the clock's time, and a note of what every tool is called with. */
import { type MonoNs, msToNs } from "@rspp/base/brand";
import type { Clock } from "@rspp/ports/clock";
import { Attempt, type ManagedProvider } from "@rspp/provider-gateway/attempt";
import { ArgumentsCheck } from "@rspp/provider-gateway/tools/check-arguments";
import type { CompiledPipeline } from "@rspp/spec/compiled";
import type { ScriptedTool } from "@rspp/spec/test-script/script";

const PROVIDER = "sim/tool";

/** The pipeline with the script's answers in the place of what its tools would call. */
export function withScriptedTools(
  pipeline: CompiledPipeline,
  scripted: Readonly<Record<string, ScriptedTool>>,
): CompiledPipeline {
  const nodes = pipeline.graph.nodes.map((node) => {
    if (node.tools === undefined) return node;
    const tools = node.tools.map((tool) => {
      if (!Object.hasOwn(scripted, tool.name)) return tool;
      const settings = { tool: tool.name, parameters: tool.parameters };
      return { ...tool, candidates: [{ provider: PROVIDER, settings }] };
    });
    return { ...node, tools };
  });
  return { ...pipeline, graph: { ...pipeline.graph, nodes } };
}

/** Arguments are checked as ever: what does not fit is refused as by the tool itself. */
export function createScriptedTools(options: {
  clock: Clock;
  tools: Readonly<Record<string, ScriptedTool>>;
}): ManagedProvider {
  const { clock, tools } = options;
  const check = new ArgumentsCheck();
  return {
    name: PROVIDER,
    modality: "tool",
    open(request, sink) {
      const attempt = new Attempt(sink);
      const { tool = "", parameters = "" } = request.settings;
      const scripted = tools[String(tool)] ?? {};
      let started = false;
      const later = (ms: number, then: () => void): void => {
        const timer = clock.timerAt((clock.nowNs() + msToNs(ms)) as MonoNs, then);
        attempt.onEnd(() => timer.clear());
      };
      const answer = (problem: string): void => {
        const error = problem === "" ? scripted.error : problem;
        const text =
          error === undefined ? (scripted.text ?? JSON.stringify(scripted.result)) : JSON.stringify({ error });
        attempt.chunk({ kind: "text", text, segment: 0, revision: 0, final: true });
        attempt.end(error === undefined ? "success" : "error", error === undefined ? "" : "as the script says");
      };
      return {
        push(input) {
          if (input.kind !== "text" || started || attempt.done) return;
          started = true;
          const release = clock.hold();
          void check
            .check(String(parameters) || '{"type":"object"}', input.text)
            .catch(() => ({ ok: false, problem: "the tool's parameters are no JSON Schema" }) as const)
            .then((checked) => {
              if (checked.ok) later(scripted.after_ms ?? 0, () => answer(""));
              else later(0, () => answer(checked.problem));
            })
            .finally(release);
        },
        finish() {
          if (!started) later(0, () => attempt.end("empty", "finished without arguments"));
        },
        cancel: () => attempt.end("cancelled", "cancelled"),
      };
    },
  };
}

/** The provider, with the arguments of its calls noted where it is a tool. */
export function withCalls(provider: ManagedProvider, calls: Map<string, string>): ManagedProvider {
  if (provider.modality !== "tool") return provider;
  return {
    ...provider,
    open(request, sink) {
      const invocation = provider.open(request, sink);
      return {
        push(input) {
          if (input.kind === "text") calls.set(request.invocationId, input.text);
          invocation.push(input);
        },
        finish: () => invocation.finish(),
        cancel: (reason) => invocation.cancel(reason),
      };
    },
  };
}
