import { BUDGET_SCOPES } from "@rspp/kernel/budget-state";
import type { GraphDefinition } from "@rspp/kernel/graph";
import type { SessionPolicy } from "@rspp/kernel/session-config";

type Has = (graph: GraphDefinition, policy: Partial<SessionPolicy>) => boolean;

const budgetScopes = Object.fromEntries(
  BUDGET_SCOPES.map((scope) => [
    `budget_${scope}`,
    ({ budgets }: GraphDefinition) => budgets?.limits.some((limit) => limit.scope === scope) === true,
  ]),
) as unknown as Record<`budget_${(typeof BUDGET_SCOPES)[number]}`, Has>;

/** What a pipeline may have, and how it shows: a long run must have drawn each of them. */
const capabilities = {
  tools: ({ nodes }) => nodes.some(({ tools }) => tools !== undefined),
  custom_node_in_turn: ({ nodes }) => nodes.some(({ kind, scope }) => kind === "custom" && scope === "turn"),
  custom_node_in_session: ({ nodes }) => nodes.some(({ kind, scope }) => kind === "custom" && scope === "session"),
  fallback_node: ({ nodes }) => nodes.some(({ fallback }) => fallback !== undefined),
  sync_atomic: ({ edges }) => edges.some(({ buffer }) => buffer.sync?.policy === "atomic_drop"),
  sync_discontinuity: ({ edges }) => edges.some(({ buffer }) => buffer.sync?.policy === "drop_with_discontinuity"),
  sample: ({ edges }) => edges.some(({ buffer }) => buffer.strategy === "sample"),
  watermark: ({ edges }) => edges.some(({ buffer }) => buffer.watermark !== undefined),
  credit: ({ edges }) => edges.some(({ buffer }) => buffer.flow === "credit" || buffer.flow === "hybrid"),
  condition: ({ edges }) => edges.some(({ condition }) => condition !== undefined),
  module: ({ nodes }) => nodes.some(({ id }) => id.startsWith("answer__")),
  postures: ({ degrade }) => (degrade?.postures.length ?? 0) > 0,
  text_only: ({ degrade }) => degrade?.textOnly === true,
  error_response: ({ errors }) => errors !== undefined,
  silence: (_, { silence }) => silence?.andThen === "nothing",
  silence_hang_up: (_, { silence }) => silence?.andThen === "hang_up",
  max_call: (_, { maxCallMs }) => maxCallMs !== undefined,
  ...budgetScopes,
} satisfies Record<string, Has>;

export type Capability = keyof typeof capabilities;
export const CAPABILITIES = Object.keys(capabilities) as Capability[];

export function capabilitiesOf(graph: GraphDefinition, policy: Partial<SessionPolicy> = {}): Capability[] {
  return CAPABILITIES.filter((name) => capabilities[name](graph, policy));
}
