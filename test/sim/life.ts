import type { Effect, TimelineRecord } from "@rspp/kernel/effect";
import { replayJournal } from "@rspp/kernel/replay";
import type { SessionConfig } from "@rspp/kernel/session-config";
import type { SessionState } from "@rspp/kernel/state";
import { type KernelPort, kernel } from "@rspp/runtime/kernel-port";
import type { RuntimeSession } from "@rspp/runtime/runtime";
import { EdgeWatch } from "./edge-watch.ts";
import type { SimProcess } from "./process.ts";
import { epochName, type LifeId, type Trace } from "./trace.ts";
import { TENANT, type World } from "./world.ts";

/** One kernel session from its start to its end, as its surroundings see it. */
export class Life {
  readonly id: LifeId;
  readonly proc: SimProcess;
  readonly config: SessionConfig;
  session: RuntimeSession | null = null;
  over = false;
  wasCrashed = false;
  /** Entries of the journal that were whole when the process died. */
  #journaled = Number.POSITIVE_INFINITY;
  /** Ended while its store was full: what still waited to be appended is lost with it. */
  lostAtEnd = false;
  endedBecause = "";
  readonly #world: World;

  constructor(world: World, proc: SimProcess, config: SessionConfig) {
    this.#world = world;
    this.proc = proc;
    this.config = config;
    const { sessionId, authority } = config;
    this.id = `${proc.name}.${proc.life}/${sessionId}@${epochName(authority.epoch)}`;
    world.trace.add({
      kind: "life_begins",
      life: this.id,
      proc: proc.name,
      session: sessionId,
      epoch: authority.epoch,
    });
  }

  crashed(): void {
    if (this.over) return;
    this.over = true;
    this.wasCrashed = true;
    this.#journaled = this.session?.journal().length ?? 0;
    this.#world.trace.add({ kind: "life_ends", life: this.id, how: "crashed", reason: "process killed" });
  }

  status(phase: string, reason: string): void {
    if (phase !== "ended" || this.over) return;
    this.over = true;
    this.endedBecause = reason;
    const runtime = this.#world.runtimes.find(({ proc }) => proc === this.proc);
    this.lostAtEnd = runtime?.storeFull === true;
    const may = runtime?.life === this ? runtime.holder?.mayAct("adapter") : undefined;
    if (may?.ok === false && may.reason === "fenced") this.#world.trace.tell({ kind: "lease_gone", life: this.id });
    this.#world.trace.add({ kind: "life_ends", life: this.id, how: "ended", reason });
  }

  /** Sessions of other tenants are open in its process. */
  besideOthers(): boolean {
    return this.#world.runtimes.some((runtime) => runtime.proc === this.proc && runtime.extrasOpen() > 0);
  }

  recorded(kind: string, text: string, appended: boolean): void {
    if (kind === "session" || kind === "session_end" || kind === "state_snapshot") return;
    this.#world.trace.add({ kind: "record", life: this.id, record: JSON.parse(text) as TimelineRecord, appended });
  }

  /** Feeds the journal to a fresh kernel. @returns the first divergence, or "" and the state it came to. */
  replay(): { problem: string; state: SessionState } | null {
    if (this.session === null) return null;
    const entries = this.session.journal().slice(0, this.#journaled);
    const result = replayJournal(this.config, entries);
    const first = result.divergences[0];
    const problem =
      first === undefined ? "" : `batch ${first.batch}: ${first.class} ${first.expected} != ${first.found}`;
    return { problem, state: result.state };
  }
}

const boundsEvery = 64;

/** The shipped kernel with an onlooker: what each step gave out goes to the trace. */
export function observedKernel(trace: Trace, lifeOf: (config: SessionConfig) => Life): KernelPort {
  const lives = new Map<unknown, Life>();
  const watch = new EdgeWatch(trace);
  return {
    ...kernel,
    createSession(config) {
      const state = kernel.createSession(config);
      lives.set(state, lifeOf(config));
      return state;
    },
    step(state, batch, fns) {
      const life = lives.get(state);
      // Its process died in the middle of what it was doing: the rest of that is not done.
      if (life?.wasCrashed) return { effects: [], facts: [], runnable: false };
      if (life !== undefined) watch.before(life, state as SessionState);
      const result = kernel.step(state, batch, fns);
      if (life === undefined) return result;
      if (batch.inputs.length >= 24) trace.add({ kind: "fault", name: "overload_batch" });
      for (const { body } of batch.inputs) {
        if (body.type === "timer") trace.add({ kind: "timer", life: life.id, what: "fired", id: body.id, dueNs: 0 });
      }
      for (const effect of result.effects) observe(trace, life, effect);
      if (heard(state as SessionState)) trace.tell({ kind: "heard", life: life.id });
      watch.after(life, state as SessionState, batch, result.effects);
      if (several(life)) stepped(trace, life, batch.inputs.length + result.effects.length, result.runnable);
      if (batch.index % boundsEvery === 0) bounds(trace, state as SessionState);
      return result;
    },
  };
}

/** Speech that words are still to decide on is heard by nobody yet. */
function heard({ prelude: { utterance, closing } }: SessionState): boolean {
  return utterance.phase === "confirmed" || closing.some(({ unjudged }) => unjudged !== true);
}

function several(life: Life): boolean {
  return life.config.tenantId !== TENANT || life.besideOthers();
}

function stepped(trace: Trace, life: Life, units: number, runnable: boolean): void {
  const waiting = runnable || (life.session?.stats().queued ?? 0) > 0;
  trace.tell({ kind: "step", proc: life.proc.name, tenant: life.config.tenantId, units, waiting });
}

function observe(trace: Trace, life: Life, effect: Effect): void {
  if (effect.type === "signal") trace.add({ kind: "signal", life: life.id, event: effect.event });
  else if (effect.type === "timer_set")
    trace.add({ kind: "timer", life: life.id, what: "set", id: effect.id, dueNs: life.proc.worldNs(effect.atNs) });
  else if (effect.type === "timer_clear")
    trace.add({ kind: "timer", life: life.id, what: "cleared", id: effect.id, dueNs: 0 });
  else if (effect.type === "status") life.status(effect.phase, effect.reason);
  else observeCalls(trace, life.id, effect);
}

function observeCalls(trace: Trace, life: LifeId, effect: Effect): void {
  switch (effect.type) {
    case "provider_open": {
      const { invocation: call, invocationId: invocation, node, modality, turn, settings, tool = null } = effect;
      const posture = Number(settings.posture ?? 0);
      return trace.tell({ kind: "call", life, call, invocation, node, modality, turn, posture, tool });
    }
    case "provider_cancel":
      return trace.tell({ kind: "call_cancelled", life, call: effect.invocation, reason: effect.reason });
    case "node_event": {
      const { mediaUs, durationUs, payload } = effect;
      return trace.tell({ kind: "frame", life, ref: payload.ref, mediaUs, durationUs });
    }
    case "provider_push_audio":
      return trace.tell({ kind: "frame_recognised", life, ref: effect.payload.ref });
    case "node_reset":
      return trace.tell({ kind: "detector_reset", life });
    default:
      return;
  }
}

function bounds(trace: Trace, state: SessionState): void {
  const bound = (what: string, value: number, max: number): void => {
    if (value > max) trace.add({ kind: "bound", what, value, max });
  };
  bound("open turns", state.turns.length, 8);
  bound("invocations", Object.keys(state.invocations).length, 64);
  bound("host commands", Object.keys(state.commands).length, 256);
  bound("timers", Object.keys(state.timers).length, 128);
  bound("conversation parts", state.conversation.length, 256);
  bound("positioned control", state.positioned.length, 16);
  bound("fence entries", state.fence.entries.length, 16);
  for (const edge of state.run.edges) if (edge !== null) bound("edge queue", edge.queue.size, edge.queue.capacity);
}
