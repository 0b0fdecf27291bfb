/**
 * How custom nodes come to their end (`kernel.md` §6, §14 F2; F-012, F-036, F-037): event budgets, cancels with their grace,
 * stop hooks, crashes and bounded restarts. Every wait has a deadline here, so that a host that hangs holds nothing up.
 */
import { type MonoNs, NS_PER_MS } from "@rspp/base/brand";
import { GRANTS_ONE_GRACE, isOn } from "./behaviours.ts";
import { definitionOf, endStream, goOn, limitsOf, nodeRunOf, openInstance, settleCommand } from "./custom-nodes.ts";
import type { CustomCommand, CustomInstance } from "./custom-state.ts";
import { degradeNode } from "./degraded.ts";
import { HOST_SLACK_MS, NODE_RESTART_MS, NODE_RESTARTS_MAX, NODE_SETTLED_MS, SESSION_END_HOOK_MS } from "./limits.ts";
import { findTurn, runOf, type TurnState } from "./state.ts";
import { cause, clearTimer, type StepContext, setTimer, setTimerIn, signal } from "./step-context.ts";

/** `budget_warning` comes with the soft budget, or at three quarters of a shorter limit. */
const WARNING_SHARE = 0.75;
const TIMERS = ["nopen", "nevent", "ngrace", "nstop"] as const;

function instances(cx: StepContext): CustomInstance[] {
  return Object.values(cx.s.customs?.instances ?? {});
}

function commandsOf(cx: StepContext, instance: CustomInstance): [number, CustomCommand][] {
  return instance.inFlight.flatMap((id) => {
    const command = cx.s.customs?.commands[id];
    return command === undefined ? [] : [[id, command] as [number, CustomCommand]];
  });
}

// --- event budgets (kernel.md §9) ---

function warnMs(cx: StepContext, node: number): number {
  return Math.min(cx.s.config.budgets.nodeSoftMs, limitsOf(cx, node).eventTimeoutMs * WARNING_SHARE);
}

function deadlineNs(cx: StepContext, command: CustomCommand): number {
  const { eventTimeoutMs } = limitsOf(cx, command.node);
  const ms =
    command.stage === "asked"
      ? warnMs(cx, command.node)
      : command.stage === "warned"
        ? eventTimeoutMs
        : eventTimeoutMs + cx.s.config.budgets.cancelGraceMs;
  return command.askedNs + Math.round(ms * NS_PER_MS);
}

/** One timer per instance, looked at when it fires: a node that answers in time costs none per event. */
export function watchEvents(cx: StepContext, instance: CustomInstance): void {
  if (instance.watched) return;
  let first = Number.POSITIVE_INFINITY;
  for (const [, command] of commandsOf(cx, instance))
    if (command.stage !== "cancelled") first = Math.min(first, deadlineNs(cx, command));
  if (!Number.isFinite(first)) return;
  instance.watched = true;
  setTimer(cx, `nevent:${instance.id}`, first as MonoNs);
}

function onEventTimer(cx: StepContext, instance: CustomInstance): void {
  instance.watched = false;
  if (instance.phase !== "ready") return;
  for (const [id, command] of commandsOf(cx, instance)) {
    if (command.stage === "asked" && cx.nowNs >= deadlineNs(cx, command)) warn(cx, command);
    if (command.stage === "warned" && cx.nowNs >= deadlineNs(cx, command)) exhaust(cx, instance, id, command);
    if (command.stage === "exhausted" && cx.nowNs >= deadlineNs(cx, command)) {
      end(cx, instance, "node_timeout", true);
      return failed(cx, instance, "node_timeout", true);
    }
  }
  watchEvents(cx, instance);
}

function warn(cx: StepContext, command: CustomCommand): void {
  command.stage = "warned";
  const { eventTimeoutMs } = limitsOf(cx, command.node);
  const budgetLeft = Math.max(0, eventTimeoutMs - Math.round((cx.nowNs - command.askedNs) / NS_PER_MS));
  const fields = { node: definitionOf(cx, command.node).id, budgetLeft };
  signal(cx, "budget_warning", "budget", command.turn, "node_event", fields, false);
}

/** The node is told, and has the cancel grace to come to an end: an answer within it still counts. */
function exhaust(cx: StepContext, instance: CustomInstance, id: number, command: CustomCommand): void {
  command.stage = "exhausted";
  if (isOn(cx.s.config.behaviours, GRANTS_ONE_GRACE)) command.toldNs = cx.nowNs;
  const fields = { node: definitionOf(cx, command.node).id, budgetLeft: 0 };
  signal(cx, "budget_exhausted", "budget", command.turn, "node_event", fields, false);
  cx.effects.push({ type: "node_hook", instance: instance.id, hook: "budget_exhausted" });
  cx.effects.push({ type: "node_cancel", instance: instance.id, command: id, reason: "node_timeout" });
}

// --- failures (kernel.md §14 F2) ---

/** An event handler threw, or gave its event up: the instance lives on. */
export function onCustomFailed(cx: StepContext, id: number, reason: string): void {
  const command = cx.s.customs?.commands[id];
  const instance = cx.s.customs?.instances[command?.instance ?? 0];
  if (command === undefined || instance === undefined) return;
  settleCommand(cx, instance, id, command);
  if (instance.phase === "cancelling") return releaseIdle(cx, instance);
  failed(cx, instance, reason === "" ? "unspecified" : reason, false);
  goOn(cx, instance);
}

export function onCancelAcked(cx: StepContext, id: number): void {
  const command = cx.s.customs?.commands[id];
  const instance = cx.s.customs?.instances[command?.instance ?? 0];
  if (command === undefined || instance === undefined) return;
  const node = definitionOf(cx, command.node).id;
  if (command.stage !== "cancelled" && command.stage !== "exhausted") {
    cx.s.counters.ignoredInputs += 1;
    return;
  }
  settleCommand(cx, instance, id, command);
  signal(cx, "cancel_ack", "node_host", 0, command.stage, { scope: "node", node, ofTurn: command.turn }, false);
  if (instance.phase === "cancelling") return releaseIdle(cx, instance);
  if (command.stage === "exhausted") failed(cx, instance, "node_timeout", false);
  goOn(cx, instance);
}

/** Named; the turn it belongs to cannot go on, the session can (F-134). `gone`: the instance with it. */
function failed(cx: StepContext, instance: CustomInstance, reason: string, gone: boolean): void {
  const node = definitionOf(cx, instance.node).id;
  cx.s.counters.nodeErrors += 1;
  signal(cx, "node_error", "node_host", instance.turn, reason, { node }, false);
  if (instance.turn !== 0) {
    if (findTurn(cx.s, instance.turn)?.phase !== "active") return;
    if (isSpare(cx, instance)) return;
    const stands = definitionOf(cx, instance.node).fallback !== undefined;
    // F2: its fallback first; the instance has no more to do in this turn.
    if (!stands || !cx.failover(cx, instance.turn, instance.node, null, reason))
      return cause(cx, "failure", instance.turn, "node_timeout_or_failure");
    if (!gone) cancelInstance(cx, instance, reason);
    return;
  }
  degradeNode(cx, node, reason);
  if (gone) restartLater(cx, instance);
}

/** One that is to take over and has not: the turn goes on, and its fallback is none any more. */
function isSpare(cx: StepContext, instance: CustomInstance): boolean {
  const node = nodeRunOf(cx, instance);
  const spare = Object.values(cx.s.topology.fallbacks ?? {}).includes(instance.node) && node?.standIn === undefined;
  if (spare && node !== undefined) node.ended = true;
  return spare;
}

/** Bounded: a node that keeps dying is given up, and what is sent to it waits on its edges by their own rules. */
function restartLater(cx: StepContext, instance: CustomInstance): void {
  const customs = cx.s.customs;
  if (customs === undefined || cx.s.lifecycle.phase !== "active") return;
  const held = instance.readyNs > 0 && cx.nowNs - instance.readyNs >= NODE_SETTLED_MS * NS_PER_MS;
  const count = held ? 0 : (customs.restarts[instance.node] ?? 0);
  customs.restarts[instance.node] = count + 1;
  if (count < NODE_RESTARTS_MAX) return setTimerIn(cx, `nrestart:${instance.node}`, NODE_RESTART_MS * 2 ** count);
  const node = definitionOf(cx, instance.node).id;
  signal(cx, "node_error", "node_host", 0, "restart_limit", { node, restarts: count }, false);
}

function restart(cx: StepContext, node: number): void {
  if (cx.s.lifecycle.phase !== "active" || cx.s.topology.customs?.session.includes(node) !== true) return;
  const restarts = cx.s.customs?.restarts[node] ?? 0;
  const { id } = definitionOf(cx, node);
  cx.effects.push({ type: "telemetry", name: "node_restarted", value: restarts, turn: 0, node: id });
  openInstance(cx, node, 0);
}

/** The last word of an instance. One that nobody asked to stop has crashed. */
export function onCustomStopped(cx: StepContext, id: number, reason: string): void {
  const instance = cx.s.customs?.instances[id];
  if (instance === undefined) {
    cx.s.counters.ignoredInputs += 1;
    return;
  }
  const why = reason === "" ? "unspecified" : reason;
  const { phase, node } = instance;
  const name = definitionOf(cx, node).id;
  forget(cx, instance);
  if (phase === "opening" || phase === "ready") return failed(cx, instance, why, true);
  if (phase === "stopping" && why === "stopped") return;
  // Its stop hook failed, or it died of its cancel: named, and it is gone as it was to be (F-012).
  cx.s.counters.nodeErrors += 1;
  signal(cx, "node_error", "node_host", 0, why, { node: name, ofTurn: instance.turn }, false);
}

// --- cancel and stop (kernel.md §6) ---

/** The turn's work is cut: hooks, then cancels, then the grace. */
export function cancelTurnNodes(cx: StepContext, turn: TurnState, reason: string): void {
  for (const instance of instances(cx)) if (instance.turn === turn.number) cancelInstance(cx, instance, reason);
}

function cancelInstance(cx: StepContext, instance: CustomInstance, reason: string): void {
  if (instance.phase === "opening") return end(cx, instance, reason, true);
  if (instance.phase !== "ready") return;
  if (reason === "barge_in") cx.effects.push({ type: "node_hook", instance: instance.id, hook: "barge_in" });
  if (instance.inFlight.length === 0) return end(cx, instance, reason, false);
  instance.phase = "cancelling";
  for (const [id, command] of commandsOf(cx, instance)) {
    if (command.stage !== "exhausted")
      cx.effects.push({ type: "node_cancel", instance: instance.id, command: id, reason });
    command.stage = "cancelled";
  }
  startGrace(cx, instance);
}

/** The grace of what is cancelled: of the one that was told first (kernel.md §6). */
function startGrace(cx: StepContext, instance: CustomInstance): void {
  if (!isOn(cx.s.config.behaviours, GRANTS_ONE_GRACE))
    return setTimerIn(cx, `ngrace:${instance.id}`, cx.s.config.budgets.cancelGraceMs);
  for (const [, command] of commandsOf(cx, instance)) if (command.stage === "cancelled") command.toldNs ??= cx.nowNs;
  const dueNs = graceNs(cx, instance);
  if (dueNs !== null) setTimer(cx, `ngrace:${instance.id}`, dueNs);
}

/** When the first grace of what is cancelled is over; null where nothing is. */
function graceNs(cx: StepContext, instance: CustomInstance): MonoNs | null {
  let first = Number.POSITIVE_INFINITY;
  for (const [, { stage, toldNs = 0 }] of commandsOf(cx, instance))
    if (stage === "cancelled") first = Math.min(first, toldNs);
  return Number.isFinite(first) ? ((first + cx.s.config.budgets.cancelGraceMs * NS_PER_MS) as MonoNs) : null;
}

/** At commit: what has nothing left to do is stopped; a side branch finishes what it was given, up to settlement. */
export function closeTurnNodes(cx: StepContext, turn: TurnState): void {
  for (const instance of instances(cx)) if (instance.turn === turn.number) releaseIdle(cx, instance);
}

/** Stops an instance whose turn is over once nothing of it is in flight or waits. */
export function releaseIdle(cx: StepContext, instance: CustomInstance): void {
  if (instance.inFlight.length > 0) return;
  if (instance.phase === "cancelling") {
    clearTimer(cx, `ngrace:${instance.id}`);
    return end(cx, instance, "cancelled", false);
  }
  if (instance.phase === "opening") return end(cx, instance, "turn_closed", true);
  if (instance.phase !== "ready") return;
  const run = runOf(cx.s, instance.turn);
  const waits = (cx.s.topology.into[instance.node] ?? []).some((e) => (run?.edges[e]?.queue.size ?? 0) > 0);
  if (!waits || nodeRunOf(cx, instance)?.ended === true) end(cx, instance, "turn_closed", false);
}

/** Cancel of one node by name: its stream ends there, its turn goes on with what it has. @returns how many were reached. */
export function cancelNamed(cx: StepContext, turn: number, target: string, reason: string): number {
  let found = 0;
  for (const instance of instances(cx)) {
    if (instance.phase !== "ready" && instance.phase !== "opening") continue;
    if ((turn !== 0 && instance.turn !== turn) || definitionOf(cx, instance.node).id !== target) continue;
    found += 1;
    const run = runOf(cx.s, instance.turn);
    const node = run?.nodes[instance.node];
    if (instance.turn !== 0 && run !== undefined && node !== null && node !== undefined) {
      cancelInstance(cx, instance, reason);
      endStream(cx, run, instance.node, node);
      continue;
    }
    // A session's node goes on with the next event.
    for (const [id, command] of commandsOf(cx, instance)) {
      command.stage = "cancelled";
      cx.effects.push({ type: "node_cancel", instance: instance.id, command: id, reason });
    }
    if (instance.inFlight.length > 0) startGrace(cx, instance);
  }
  return found;
}

/** Ends an instance: by its stop hook, within a deadline, or at once. */
function end(cx: StepContext, instance: CustomInstance, reason: string, kill: boolean): void {
  const { id, node } = instance;
  cx.effects.push({ type: "node_stop", instance: id, node: definitionOf(cx, node).id, reason, kill });
  if (kill) return forget(cx, instance);
  instance.phase = "stopping";
  if (instance.watched) clearTimer(cx, `nevent:${id}`);
  instance.watched = false;
  const hookMs = limitsOf(cx, node).hookTimeoutMs;
  const ending = cx.s.ending !== "" || cx.s.lifecycle.phase === "draining";
  setTimerIn(cx, `nstop:${id}`, (ending ? Math.min(hookMs, SESSION_END_HOOK_MS) : hookMs) + HOST_SLACK_MS);
}

/** F-037: a node that ignored its cancel is ended by force. */
function onGrace(cx: StepContext, instance: CustomInstance): void {
  const ignored = commandsOf(cx, instance).some(([, command]) => command.stage === "cancelled");
  if (!ignored || instance.phase === "stopping") return;
  const dueNs = graceNs(cx, instance) ?? 0;
  // The one that was told first has come to its end: the grace of the next is not over yet.
  if (dueNs > cx.nowNs && isOn(cx.s.config.behaviours, GRANTS_ONE_GRACE)) return startGrace(cx, instance);
  const node = definitionOf(cx, instance.node).id;
  end(cx, instance, "cancel_ignored", true);
  const fields = { scope: "node", node, ofTurn: instance.turn };
  signal(cx, "node_stopped", "node_host", 0, "cancel_ignored", fields, false);
  degradeNode(cx, node, "cancel_ignored");
  if (instance.turn === 0) restartLater(cx, instance);
}

/** Nothing is known of it any more: what it still says is late. */
function forget(cx: StepContext, instance: CustomInstance): void {
  const customs = cx.s.customs;
  if (customs === undefined) return;
  for (const [id, command] of commandsOf(cx, instance)) settleCommand(cx, instance, id, command);
  delete customs.instances[instance.id];
  for (const kind of TIMERS) clearTimer(cx, `${kind}:${instance.id}`);
  const node = nodeRunOf(cx, instance);
  const by = node?.standIn?.role === "replaced" ? node.standIn.by : instance.node;
  const taken = by !== instance.node && cx.s.config.graph.nodes[by]?.kind === "custom";
  if (node !== undefined && !taken) node.command = -1;
}

// --- timers, session end ---

type CustomTimer = (typeof TIMERS)[number] | "nrestart";

export function isCustomTimer(kind: string): kind is CustomTimer {
  return kind === "nrestart" || TIMERS.some((known) => known === kind);
}

/** `number`: of the instance, or, of `nrestart`, of the node. */
export function onCustomTimer(cx: StepContext, kind: CustomTimer, number: number): void {
  if (kind === "nrestart") return restart(cx, number);
  const instance = cx.s.customs?.instances[number];
  if (instance === undefined) return;
  if (kind === "nevent") onEventTimer(cx, instance);
  else if (kind === "ngrace") onGrace(cx, instance);
  else if (kind === "nopen") {
    end(cx, instance, "init_timeout", true);
    failed(cx, instance, "init_timeout", true);
  } else {
    const node = definitionOf(cx, instance.node).id;
    end(cx, instance, "stop_timeout", true);
    cx.s.counters.nodeErrors += 1;
    signal(cx, "node_error", "node_host", 0, "stop_timeout", { node, ofTurn: instance.turn }, false);
  }
}

/** The session ends: each is stopped in order, and awaited up to its deadline. True once none is left. */
export function customsStopped(cx: StepContext): boolean {
  if (cx.s.customs === undefined) return true;
  for (const instance of instances(cx)) cancelInstance(cx, instance, "session_end");
  return instances(cx).length === 0;
}
