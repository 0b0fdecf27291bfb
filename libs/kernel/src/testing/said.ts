/** What went on in a session with text nodes, for tests. */
import type { Effect } from "../effect.ts";
import type { KernelHarness } from "./harness.ts";

/** Every clause that was given to the voice and told to the transport, in order. */
export function clauses(h: KernelHarness): string[] {
  return h.log.flatMap(({ effect }) =>
    effect.type === "egress_text" && effect.role === "assistant" ? [h.text(effect.spans)] : [],
  );
}

/** Route decisions as `reason {fields}`. */
export function decisions(h: KernelHarness): string[] {
  return h.log.flatMap(({ effect }) =>
    effect.type === "signal" && effect.event.signal === "route_decision"
      ? [`${effect.event.reason} ${JSON.stringify(effect.event.fields)}`]
      : [],
  );
}

/** Sum of a telemetry sample over the session, by `name node`. */
export function counted(h: KernelHarness, name: string): Record<string, number> {
  const out: Record<string, number> = {};
  for (const { effect } of h.log)
    if (effect.type === "telemetry" && effect.name === name) out[effect.node] = (out[effect.node] ?? 0) + effect.value;
  return out;
}

/** The open invocation of a node; 0 for none. */
export function invocationOf(h: KernelHarness, node: string): number {
  const index = h.config.graph.nodes.findIndex(({ id }) => id === node);
  return Object.values(h.state.invocations).find((inv) => inv.node === index && inv.status === "open")?.id ?? 0;
}

/** What a node's model was asked, last message only, in order. */
export function askedOf(h: KernelHarness, node: string): string[] {
  const ids = new Set(
    h.log.flatMap(({ effect }) => (effect.type === "provider_open" && effect.node === node ? [effect.invocation] : [])),
  );
  return h.log.flatMap(({ effect }: { effect: Effect }) =>
    effect.type === "provider_push_messages" && ids.has(effect.invocation)
      ? [h.text(effect.messages.at(-1)?.spans ?? [])]
      : [],
  );
}
