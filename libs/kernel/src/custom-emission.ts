/**
 * What custom nodes emit, checked against the ports their package declared (F-003, F-011): anything else is refused, counted
 * and told. Emissions of work that was cancelled are late (`kernel.md` §6).
 */
import type { MonoNs } from "@rspp/base/brand";
import { withClause } from "./custom-clause.ts";
import { answered, definitionOf } from "./custom-nodes.ts";
import type { CustomCommand, CustomInstance } from "./custom-state.ts";
import type { EventBody } from "./event.ts";
import { emit } from "./flow.ts";
import { PORT_BODY, portsOf } from "./graph.ts";
import { NODE_ERRORS_UNTOLD_MAX } from "./limits.ts";
import { findTurn, runOf } from "./state.ts";
import { type StepContext, signal } from "./step-context.ts";

export function onCustomEmitted(cx: StepContext, id: number, index: number, port: string, body: EventBody): void {
  const command = cx.s.customs?.commands[id];
  const instance = cx.s.customs?.instances[command?.instance ?? 0];
  const run = command === undefined ? undefined : runOf(cx.s, command.turn);
  if (command === undefined || instance === undefined || run === undefined || index !== command.next) {
    cx.s.counters.ignoredInputs += 1;
    return;
  }
  command.next += 1;
  if (cx.s.authority.held !== "held") return;
  const telemetry = body.type === "metrics" || body.type === "debug";
  if (!telemetry && !fits(cx, command, port, body)) return refuse(cx, instance);
  const turn = findTurn(cx.s, command.turn);
  if (!telemetry && (command.stage === "cancelled" || (turn !== undefined && turn.phase !== "active"))) {
    cx.s.counters.lateDropped += 1;
    if (turn !== undefined) turn.lateAfterCancel += 1;
    return;
  }
  // Said in part it cannot be said again by another.
  if (!telemetry) answered(run.nodes[command.node], id);
  const at = cx.atNs;
  cx.atNs = command.ingressNs as MonoNs;
  emit(cx, run, command.node, port, body.type === "audio" ? withClause(body, command) : body, cx.inputSeq);
  cx.atNs = at;
}

function fits(cx: StepContext, command: CustomCommand, port: string, body: EventBody): boolean {
  const declared = portsOf(definitionOf(cx, command.node)).outputs.find(({ name }) => name === port);
  return declared !== undefined && PORT_BODY[declared.type] === body.type;
}

/** A node that does it at every event would fill the timeline: told at the first, then at every 50th. */
function refuse(cx: StepContext, instance: CustomInstance): void {
  instance.refused += 1;
  cx.s.counters.nodeErrors += 1;
  if (instance.refused % NODE_ERRORS_UNTOLD_MAX !== 1) return;
  const node = definitionOf(cx, instance.node).id;
  signal(cx, "node_error", "node_host", instance.turn, "undeclared_emission", { node, count: instance.refused }, false);
}
