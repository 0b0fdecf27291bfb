/** `rspp resolved`: the resolved view of a spec, or of a session that runs (F-080, F-081). */
import { RecordingLevelSchema } from "@rspp/gen/rspp/common/v1/lane_pb";
import { LateEventSchema, SecondProposalSchema } from "@rspp/gen/rspp/pipeline/v1/arbitration_pb";
import { BudgetScope } from "@rspp/gen/rspp/pipeline/v1/budget_pb";
import { OverflowStrategySchema } from "@rspp/gen/rspp/pipeline/v1/buffer_pb";
import { PortTypeSchema } from "@rspp/gen/rspp/pipeline/v1/pipeline_pb";
import { type ResolvedTurnPlan, type SessionPlan, ValueSourceSchema } from "@rspp/gen/rspp/plan/v1/plan_pb";
import { SessionService } from "@rspp/gen/rspp/runtime/v1/session_service_pb";
import { applyLayers } from "@rspp/spec/layers";
import { parseSpec } from "@rspp/spec/parse-spec";
import { formatProblems, type SpecProblem } from "@rspp/spec/problem";
import { resolvedView } from "@rspp/spec/resolved-view";
import type { ResolvedOptions } from "../commands/resolved.ts";
import { wordOf } from "../enum-words.ts";
import { EXIT_OK, InputError } from "../errors.ts";
import { modulesBeside } from "../module-files.ts";
import { catalogueFrom } from "../node-packages.ts";
import { createPrinter } from "../output/printer.ts";
import { paint, printable } from "../output/style.ts";
import { facts, table } from "../output/table.ts";
import { hexOf } from "../output/words.ts";
import { connectTo } from "../platform-client/connect.ts";
import { readLayers, readSpecFile } from "../spec-file.ts";

export function resolved(target: string, options: ResolvedOptions): Promise<number> {
  return /\.(ya?ml|json)$/i.test(target) ? resolvedSpec(target, options) : resolvedSession(target, options);
}

async function resolvedSpec(path: string, { layer = [], nodes, json = false }: ResolvedOptions): Promise<number> {
  const { source } = await readSpecFile(path);
  const failed = (problems: readonly SpecProblem[]): never => {
    throw new InputError(formatProblems(problems, source));
  };
  const catalogue = await catalogueFrom(nodes);
  const parsed = parseSpec(source, path, modulesBeside(path), catalogue);
  if (!parsed.ok) return failed(parsed.error);
  const layered = applyLayers(parsed.value, await readLayers(layer));
  if (!layered.ok) return failed(layered.error);
  const view = resolvedView(layered.value, catalogue);
  if (!view.ok) return failed(view.error);
  const { compiled, rows } = view.value;
  const printer = createPrinter(json);
  const { layers = [] } = layered.value.origin;
  printer.data({ pipeline: compiled.graph.pipelineVersion, fingerprint: compiled.fingerprint, layers, values: rows });
  printer.lines([
    ...facts([
      ["pipeline", paint("bold", compiled.graph.pipelineVersion)],
      ["fingerprint", compiled.fingerprint],
      ["layers", layers.join(", ")],
      ["modules", (compiled.modules ?? []).map(({ id, use }) => `${id} (${use})`).join(", ")],
    ]),
    "",
    ...table(
      ["PATH", "VALUE", "FROM", "WRITTEN AT"].map((head) => ({ head })),
      rows.map((row) => [row.path, printable(row.value), row.source, row.at]),
    ),
  ]);
  return EXIT_OK;
}

type Plan = SessionPlan | ResolvedTurnPlan;

async function resolvedSession(sessionId: string, options: ResolvedOptions): Promise<number> {
  const runtime = connectTo("runtime", options.runtime, SessionService, options);
  const { sessionPlan, turnPlan } = await runtime.ask((client) =>
    client.getSession({ session: { tenantId: options.tenant, sessionId } }),
  );
  const plans: readonly Plan[] = [sessionPlan, turnPlan].filter((plan) => plan !== undefined);
  const values = new Map(plans.flatMap((plan) => valuesOf(plan)));
  if (turnPlan?.recording !== undefined)
    values.set("recording.ceiling", wordOf(RecordingLevelSchema, turnPlan.recording.ceiling).toUpperCase());
  const rows = new Map(plans.flatMap(({ provenance }) => provenance).map((one) => [one.field, one]));
  const origins = [...rows.values()].map(({ field, source, sourceRef }) => ({
    path: field,
    value: values.get(field) ?? "",
    source: wordOf(ValueSourceSchema, source),
    ref: sourceRef,
  }));
  const nodes = plans.flatMap((plan) => plan.nodes.map((node) => nodeData(plan, node.id, node.kind, node.insertedBy)));
  const [first] = plans;
  const data = {
    session: sessionId,
    pipeline: `${first?.pipeline?.name ?? ""}@${first?.pipeline?.version ?? 0}`,
    profile: first?.executionProfile ?? "",
    session_plan: sessionPlan?.planId ?? "",
    session_plan_hash: hexOf(sessionPlan?.planHash ?? new Uint8Array()),
    turn_plan: turnPlan?.planId ?? "",
    nodes,
    values: origins,
  };
  const printer = createPrinter(options.json ?? false);
  printer.data(data);
  const { nodes: _, values: __, ...told } = data;
  const heads = (...names: string[]) => names.map((head) => ({ head }));
  printer.lines([
    ...facts(Object.entries(told).map(([name, value]) => [name.replaceAll("_", " "), value] as const)),
    "",
    ...table(
      heads("NODE", "KIND", "PROVIDERS", "FROM"),
      nodes.map((node) => [paint("bold", node.id), node.kind, node.providers.join(", "), node.inserted_by || "spec"]),
    ),
    "",
    ...table(
      heads("PATH", "VALUE", "FROM", "WHICH"),
      origins.map(({ path, value, source, ref }) => [path, printable(value), source, printable(ref)]),
    ),
  ]);
  return EXIT_OK;
}

function nodeData(plan: Plan, id: string, kind: string, insertedBy: string) {
  const bound = plan.providers.find(({ nodeId }) => nodeId === id);
  return {
    id,
    kind,
    inserted_by: insertedBy,
    providers: (bound?.binding?.candidates ?? []).map(({ provider }) => provider),
  };
}

const budgetNames: Readonly<Partial<Record<BudgetScope, string>>> = {
  [BudgetScope.NODE]: "budgets.nodeSoftMs",
  [BudgetScope.TURN]: "budgets.turnFirstOutputMs",
  [BudgetScope.PROVIDER_INVOCATION]: "budgets.providerAttemptMs",
};

const told = (value: unknown): string => (typeof value === "string" ? value : JSON.stringify(value));

/** What the plan says of the paths that provenance names. */
function valuesOf(plan: Plan): [string, string][] {
  const values: [string, string][] = [
    ["profile", plan.executionProfile],
    ["policy.bargeIn", String(plan.arbitration?.bargeIn?.enabled ?? "")],
    ["policy.holdOnCandidate", String(plan.arbitration?.bargeIn?.holdOnCandidate ?? "")],
    ["budgets.cancelGraceMs", String(plan.arbitration?.cancelGraceMs ?? "")],
  ];
  const { secondProposal, lateEvent } = plan.arbitration ?? {};
  values.push(["policy.secondProposal", wordOf(SecondProposalSchema, secondProposal)]);
  values.push(["policy.lateEvents", wordOf(LateEventSchema, lateEvent)]);
  if ("budgets" in plan) {
    for (const { scope, softMs, hardMs } of plan.budgets) {
      const name = budgetNames[scope];
      if (name !== undefined) values.push([name, String(softMs || hardMs)]);
    }
  }
  for (const { id, kind, settings } of plan.nodes) {
    values.push([`nodes.${id}.kind`, kind]);
    for (const [key, value] of Object.entries(settings ?? {}))
      values.push([`nodes.${id}.settings.${key}`, told(value)]);
  }
  for (const { nodeId, binding } of plan.providers) {
    for (const [i, { provider, settings }] of (binding?.candidates ?? []).entries()) {
      values.push([`nodes.${nodeId}.candidates[${i}].provider`, provider]);
      for (const [key, value] of Object.entries(settings ?? {}))
        values.push([`nodes.${nodeId}.candidates[${i}].settings.${key}`, told(value)]);
    }
  }
  for (const { id, from, to, type, buffer } of plan.edges) {
    values.push([`edges.${id}.from`, `${from?.node}.${from?.port}`], [`edges.${id}.to`, `${to?.node}.${to?.port}`]);
    values.push([`edges.${id}.type`, wordOf(PortTypeSchema, type)]);
    const [rule] = buffer?.laneRules ?? [];
    if (rule !== undefined) values.push([`edges.${id}.buffer.strategy`, wordOf(OverflowStrategySchema, rule.strategy)]);
    if (buffer?.maxItems) values.push([`edges.${id}.buffer.maxItems`, String(buffer.maxItems)]);
    if (buffer?.maxBytes) values.push([`edges.${id}.buffer.maxBytes`, String(buffer.maxBytes)]);
    if (buffer?.maxTimeInQueueMs) values.push([`edges.${id}.buffer.maxQueueMs`, String(buffer.maxTimeInQueueMs)]);
  }
  return values;
}
