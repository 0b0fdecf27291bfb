/**
 * Custom nodes (F-011, F-109; `kernel.md` §1): foreign code behind a host port, asked by effects and heard by inputs, so that
 * a replay needs neither. Instances of a turn are opened at `turn_open`, off the critical path of its first event; those of
 * the session when it becomes active. Events wait on the edges until the instance is ready and has room in flight.
 */
import { ringPeek } from "@rspp/base/ring";
import { sha256Utf8Hex } from "@rspp/base/sha256";
import { clauseOf } from "./custom-clause.ts";
import type { CustomCommand, CustomInstance, CustomState } from "./custom-state.ts";
import { customsCreate } from "./custom-state.ts";
import { releaseIdle, watchEvents } from "./custom-stop.ts";
import { recoverNode } from "./degraded.ts";
import type { KernelEvent } from "./event.ts";
import { emit, flushNotice, shedLate, take } from "./flow.ts";
import type { CustomLimits, NodeDefinition } from "./graph.ts";
import { hostReady } from "./host-nodes.ts";
import { HOST_SLACK_MS, HOST_START_MS } from "./limits.ts";
import type { Unanswered } from "./resilience-state.ts";
import { findTurn, type GraphRun, type NodeRun, runOf, type TurnState } from "./state.ts";
import { clearTimer, type StepContext, setTimerIn, signal } from "./step-context.ts";

/** `NodeRun.command` of a custom node that takes nothing now. */
export const BUSY = -1;

const DEFAULT_LIMITS: CustomLimits = {
  maxInFlight: 1,
  queueMax: 0,
  whenFull: "queue",
  eventTimeoutMs: 1_600,
  hookTimeoutMs: 500,
  memoryMb: 64,
  cpuPercent: 100,
};

export function customsOf(cx: StepContext): CustomState {
  cx.s.customs ??= customsCreate();
  return cx.s.customs;
}

export function definitionOf(cx: StepContext, node: number): NodeDefinition {
  return cx.s.config.graph.nodes[node] as NodeDefinition;
}

export function limitsOf(cx: StepContext, node: number): CustomLimits {
  return definitionOf(cx, node).limits ?? DEFAULT_LIMITS;
}

export function instanceOf(cx: StepContext, turn: number, node: number): CustomInstance | undefined {
  // The latest one: an older may still be stopping.
  return Object.values(cx.s.customs?.instances ?? {})
    .filter((one) => one.turn === turn && one.node === node && one.phase !== "stopping")
    .at(-1);
}

export function nodeRunOf(cx: StepContext, instance: CustomInstance): NodeRun | undefined {
  return runOf(cx.s, instance.turn)?.nodes[instance.node] ?? undefined;
}

/** When the session has become active. */
export function openSessionNodes(cx: StepContext): void {
  for (const node of cx.s.topology.customs?.session ?? []) openInstance(cx, node, 0);
}

/** At `turn_open`. */
export function openTurnNodes(cx: StepContext, turn: TurnState): void {
  for (const node of cx.s.topology.customs?.turn ?? []) openInstance(cx, node, turn.number);
}

export function openInstance(cx: StepContext, node: number, turn: number): void {
  const customs = customsOf(cx);
  const { seed } = cx.s.config;
  const { epoch } = cx.s.authority;
  const definition = definitionOf(cx, node);
  const id = customs.next;
  customs.next += 1;
  const opened: CustomInstance = {
    id,
    node,
    turn,
    phase: "opening",
    inFlight: [],
    watched: false,
    refused: 0,
    shed: 0,
    readyNs: 0,
  };
  customs.instances[id] = opened;
  const run = nodeRunOf(cx, opened);
  if (run !== undefined) run.command = BUSY;
  cx.effects.push({
    type: "node_open",
    instance: id,
    node: definition.id,
    package: definition.package ?? "",
    turn,
    epoch,
    seed: sha256Utf8Hex(`${seed}/${epoch}/node/${definition.id}/${id}`),
  });
  // The host ends a hook that takes too long and says which; this is for a host that says nothing.
  setTimerIn(cx, `nopen:${id}`, HOST_START_MS + 2 * limitsOf(cx, node).hookTimeoutMs + HOST_SLACK_MS);
}

export function onNodeReady(cx: StepContext, id: number): void {
  const instance = cx.s.customs?.instances[id];
  if (instance === undefined || instance.phase !== "opening") {
    cx.s.counters.ignoredInputs += 1;
    return;
  }
  clearTimer(cx, `nopen:${id}`);
  instance.phase = "ready";
  instance.readyNs = cx.nowNs;
  roomAgain(cx, instance);
}

/** The instance may be given its next event. */
export function roomAgain(cx: StepContext, instance: CustomInstance): void {
  const run = runOf(cx.s, instance.turn);
  const node = run?.nodes[instance.node];
  if (run === undefined || node === null || node === undefined) return;
  node.command = 0;
  if (node.owed !== undefined && giveOwed(cx, run, node, instance)) return;
  hostReady(cx, run, instance.node);
}

/** F-133: what the node it stands in for has left unanswered goes first. True while some of it waits, or is all there is room for. */
function giveOwed(cx: StepContext, run: GraphRun, node: NodeRun, instance: CustomInstance): boolean {
  const { maxInFlight } = limitsOf(cx, instance.node);
  for (let next = node.owed?.[0]; next !== undefined; next = node.owed?.[0]) {
    const busy = instance.inFlight.length;
    const waits = busy >= maxInFlight || (next.event.body.type === "end" && busy > 0);
    if (waits || node.ended) {
      node.command = BUSY;
      return true;
    }
    node.owed?.shift();
    send(cx, run, instance.node, instance, next.event, next.edge);
  }
  delete node.owed;
  if (instance.inFlight.length < maxInFlight) return false;
  node.command = BUSY;
  return true;
}

/** A ready event of one of its edges; it stays there while the node has no room, or, an end mark, while it still works. */
export function dispatchCustom(cx: StepContext, run: GraphRun, index: number, node: NodeRun, e: number): void {
  const edge = run.edges[e];
  const instance = instanceOf(cx, run.turn, index);
  if (edge === null || edge === undefined) return;
  // What is late goes before anyone looks: the end mark behind it must not be taken for it.
  if (edge.extras !== undefined) shedLate(cx, run, e);
  const head = ringPeek(edge.queue);
  if (head === undefined) return;
  if (node.ended || cx.s.authority.held !== "held") {
    take(cx, run, e);
    return hostReady(cx, run, index);
  }
  if (instance === undefined || instance.phase !== "ready") {
    node.command = BUSY;
    return;
  }
  const isEnd = head.body.type === "end";
  if (isEnd && instance.inFlight.length > 0) return;
  const event = take(cx, run, e);
  if (edge.noticeFrom !== 0) flushNotice(cx, run, e, edge);
  if (event === undefined) return;
  const limits = limitsOf(cx, index);
  if (instance.inFlight.length >= limits.maxInFlight) shed(cx, instance);
  else send(cx, run, index, instance, event, e);
  if (instance.inFlight.length >= limits.maxInFlight && limits.whenFull === "queue") node.command = BUSY;
  else hostReady(cx, run, index);
}

/** F-109: no room, and the node is not to be waited for. Told at the first and at every 50th. */
function shed(cx: StepContext, instance: CustomInstance): void {
  instance.shed += 1;
  const { id } = definitionOf(cx, instance.node);
  cx.effects.push({ type: "telemetry", name: "node_shed", value: 1, turn: instance.turn, node: id });
  if (instance.shed % TOLD_EVERY !== 1) return;
  const fields = { scope: "node_dispatch", node: id, count: instance.shed };
  signal(cx, "shed", "local_admission", instance.turn, "node_busy", fields, false);
}

const TOLD_EVERY = 50;

function send(
  cx: StepContext,
  run: GraphRun,
  index: number,
  instance: CustomInstance,
  event: KernelEvent,
  e: number,
): void {
  const { graph } = cx.s.config;
  const id = cx.s.nextCommand;
  cx.s.nextCommand += 1;
  const clause = clauseOf(cx, run, definitionOf(cx, index), event.body);
  const command: CustomCommand = {
    instance: instance.id,
    node: index,
    turn: run.turn,
    ingressNs: event.monoNs,
    askedNs: cx.nowNs,
    next: 0,
    stage: "asked",
    end: event.body.type === "end",
    ...(clause === null ? {} : { clause }),
  };
  customsOf(cx).commands[id] = command;
  instance.inFlight.push(id);
  keepUnanswered(cx, run, index, { command: id, edge: e, event });
  watchEvents(cx, instance);
  const port = graph.edges[e]?.to.port ?? "";
  const node = graph.nodes[index]?.id ?? "";
  cx.effects.push({ type: "node_input", instance: instance.id, command: id, node, port, body: event.body });
}

/** Only where another custom node may take over: a canned reply takes no events. */
function keepUnanswered(cx: StepContext, run: GraphRun, index: number, one: Unanswered): void {
  const by = cx.s.topology.fallbacks?.[index];
  const node = run.nodes[index];
  if (by === undefined || run.nodes[by]?.kind !== "custom" || node === null || node === undefined) return;
  node.unanswered ??= [];
  node.unanswered.push(one);
}

/** It has said something of it, or is done with it. */
export function answered(node: NodeRun | null | undefined, command: number): void {
  if (node?.unanswered !== undefined) node.unanswered = node.unanswered.filter((one) => one.command !== command);
}

/** The node has done what a command asked of it. */
export function onCustomDone(cx: StepContext, id: number): void {
  const command = cx.s.customs?.commands[id];
  const instance = cx.s.customs?.instances[command?.instance ?? 0];
  if (command === undefined || instance === undefined) return;
  const { stage, end } = command;
  settleCommand(cx, instance, id, command);
  if (instance.phase === "cancelling") return releaseIdle(cx, instance);
  if (stage !== "cancelled" && cx.s.degradedBy.length > 0) recoverNode(cx, definitionOf(cx, instance.node).id);
  const run = runOf(cx.s, instance.turn);
  const node = run?.nodes[instance.node];
  if (run === undefined || node === null || node === undefined) return;
  answered(node, id);
  if (end) node.endsAwaited -= 1;
  if (node.endsAwaited <= 0 && instance.inFlight.length === 0) endStream(cx, run, instance.node, node);
  goOn(cx, instance);
}

/** What follows a command that has left flight, whatever its outcome. */
export function goOn(cx: StepContext, instance: CustomInstance): void {
  if (instance.phase !== "ready") return;
  const turn = findTurn(cx.s, instance.turn);
  roomAgain(cx, instance);
  if (turn !== undefined && turn.phase !== "active") releaseIdle(cx, instance);
}

/** Takes a command out of flight. */
export function settleCommand(cx: StepContext, instance: CustomInstance, id: number, command: CustomCommand): void {
  delete cx.s.customs?.commands[id];
  instance.inFlight = instance.inFlight.filter((one) => one !== id);
  const { clause } = command;
  const turn = findTurn(cx.s, command.turn);
  const segment = clause === undefined ? undefined : turn?.segments[clause.segment];
  if (clause === undefined || segment === undefined || turn?.phase !== "active") return;
  if (clause.spoken) segment.complete = true;
  // Audio that went in and did not come out: its words do not count as heard.
  else if (clause.emitted === 0) segment.shedUs += clause.durationUs;
}

/** All its inputs have come to their end and it has done all of them: so has its output (`kernel.md` §2). */
export function endStream(cx: StepContext, run: GraphRun, index: number, node: NodeRun): void {
  if (node.ended) return;
  node.ended = true;
  for (const port of definitionOf(cx, index).ports?.outputs ?? [])
    emit(cx, run, index, port.name, { type: "end" }, cx.inputSeq);
}
