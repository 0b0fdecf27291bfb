import type { SessionConfig } from "@rspp/kernel/session-config";
import { assistantGraph } from "@rspp/kernel/testing/harness";
import type { TimerHandle } from "@rspp/ports/clock";
import type { TransportEgress, TransportIngress } from "@rspp/ports/transport";
import { createRuntime, type Runtime, type RuntimeSession } from "@rspp/runtime/runtime";
import { createMemoryStore, type MemoryStore } from "@rspp/runtime/spool/memory-store";
import { createSpool, type Spool } from "@rspp/runtime/spool/spool";
import { Exporting } from "./exporting.ts";
import { Holder } from "./holder.ts";
import { Life, observedKernel } from "./life.ts";
import type { LinkPair, Output, Payload } from "./link-pair.ts";
import { SimNodeHost } from "./node-host.ts";
import { ofOneLife } from "./one-life-store.ts";
import type { SimProcess } from "./process.ts";
import { type Detector, faultyVad } from "./providers.ts";
import { remoteGateway } from "./remote-gateway.ts";
import { configOf, textsOf } from "./session-setting.ts";
import { epochName } from "./trace.ts";
import { SESSION, type World } from "./world.ts";

interface Binding {
  ref: number;
  /** Sent under it, for the peer to have acted on: by control sequence. */
  unacked: { seq: number; payload: Payload }[];
}

const unackedMax = 256;
const tokenMs = 300;
const extraWork = 600;

/** One runtime process: the shipped shell over simulated ports, and the drivers of the protocol machines around it. */
export class RuntimeProcess {
  readonly proc: SimProcess;
  readonly store: MemoryStore;
  link!: LinkPair;
  runtime!: Runtime;
  spool!: Spool;
  exporting!: Exporting;
  holder: Holder | null = null;
  life: Life | null = null;
  session: RuntimeSession | null = null;
  /** Sends although it is fenced: the fault "stale holder sending". */
  unruly = false;
  readonly #world: World;
  #binding: Binding | null = null;
  #resend: Payload[] = [];
  /** Sent before the adapter has acknowledged the floor. */
  #early: TransportEgress[] = [];
  #extras = 0;
  #terms = 0;
  /** Called when a turn's plan is about to be appended. @returns whether the store is full for just that long. */
  fullAtPlan: () => boolean = () => false;
  #fullNow = false;
  /** The fault "store full" is under way. */
  storeFull = false;
  /** How long the disk takes to sync, milliseconds. */
  syncMs = 1;
  readonly detector: Detector = { fault: "none", happened: () => {} };
  #effectsLeft = 0;
  #atEffect: () => void = () => {};

  constructor(world: World, proc: SimProcess) {
    this.#world = world;
    this.proc = proc;
    this.store = createMemoryStore({ defer: (done) => void proc.after(this.syncMs, done) });
  }

  boot(): void {
    const { proc } = this;
    const world = this.#world;
    this.spool = this.#tapped(
      createSpool({ store: ofOneLife(this.store, proc, () => this.#fullNow), clock: proc.clock }),
    );
    this.exporting = new Exporting(world, this);
    this.holder?.abandon();
    this.holder = null;
    this.life = null;
    this.session = null;
    this.#binding = null;
    this.#waiting = [];
    this.#resend = [];
    this.#early = [];
    const providers = remoteGateway(
      world.clock,
      world.rng.fork(`${proc.name}/gateway/${proc.life}`),
      world.gatewayPath,
      world.gateway,
      proc,
      world.voices.watch(
        () => this.#effect(),
        () => world.fault("late_provider_data"),
        ({ sessionId }) => (sessionId === SESSION ? (this.life?.id ?? null) : null),
      ),
    );
    this.runtime = createRuntime({
      clock: proc.clock,
      providers,
      vad: faultyVad(this.detector),
      nodes: this.#nodeHost(),
      spool: this.spool,
      defer: proc.defer,
      tenantKey: () => new Uint8Array(32),
      kernel: observedKernel(world.trace, (config) => this.#lifeOf(config)),
    });
  }

  #nodeHost(): SimNodeHost {
    const { proc } = this;
    const { dial, trace, seed } = this.#world;
    return new SimNodeHost({
      proc,
      seed: `sim/${seed}/${proc.name}/${proc.life}`,
      dial,
      trace,
      lifeOf: (sessionId) => (sessionId === SESSION ? (this.life?.id ?? null) : null),
      effect: () => this.#effect(),
      count: () => this.#world.nodeFault(),
    });
  }

  /** Calls `crash` in the middle of the `effects`-th effect from now, between any two; 0 calls it off. */
  crashAfter(effects: number, crash: () => void): void {
    this.#effectsLeft = effects;
    this.#atEffect = crash;
  }

  /** An effect is about to reach the world. @returns false when the process died before it. */
  #effect(): boolean {
    if (this.proc.dead()) return false;
    if (this.#effectsLeft === 0) return true;
    this.#effectsLeft -= 1;
    if (this.#effectsLeft === 0) this.#atEffect();
    return !this.proc.dead();
  }

  /** The process dies here; what the disk had not synced is kept, torn or lost. */
  crash(keep: (unsynced: number) => number): void {
    if (this.life !== null) this.life.crashed();
    for (const life of this.#extraLives) life.crashed();
    this.#extraLives = [];
    this.proc.kill();
    this.store.crash((_, unsynced) => keep(unsynced));
    this.link.runtimeDied();
  }

  /** Asks for the session's lease and takes the session up once the adapter knows the new floor. */
  takeOver(): void {
    const world = this.#world;
    // Two who noticed the same outage ask twice: one is enough.
    const current = world.lease.grantor.leases[SESSION]?.signed.grant.holder ?? null;
    const held = current !== null && this.holder?.state.holder === current && this.life?.over === false;
    if (held) return;
    this.#terms += 1;
    const holder: Holder = new Holder(
      `${this.proc.name}/${this.proc.life}/${this.#terms}`,
      SESSION,
      this.proc,
      world.lease,
      world.rpcFrom(this.proc),
      {
        announce: (receiver, signed, answer) => world.announce(this, receiver, signed, answer),
        acquired: (epoch, rotated) => {
          world.trace.add({
            kind: "note",
            text: `${this.proc.name} acquired epoch ${epochName(epoch)}${rotated ? " (rotated)" : ""}`,
          });
          // Of a restored store it is a new grant to the same holder, whose session goes on.
          if (this.session === null || this.holder !== holder) return;
          if (rotated) world.fault("lease_rotation");
          this.session.update({ type: "authority", kind: "rotated", epoch, deadlineNs: holder.state.deadlineNs });
        },
        renewed: (deadlineNs) =>
          this.session?.update({ type: "authority", kind: "renewed", epoch: holder.state.epoch, deadlineNs }),
        fenced: (reason) => this.#fenced(holder, reason),
        ready: (receiver) => {
          if (this.holder !== holder) return;
          if (receiver === "adapter" && this.session === null) this.#open(holder);
          this.#flushEarly();
        },
      },
    );
    this.#endOld();
    this.holder?.abandon();
    this.holder = holder;
    holder.acquire();
  }

  /** More sessions, as many as are asked for: each is told to say something under a plan that cannot be resolved. */
  openExtras(count: number): void {
    const graph = assistantGraph();
    for (const node of graph.nodes)
      if (node.kind === "llm") (node as { candidates: readonly unknown[] }).candidates = [];
    for (let i = 0; i < count; i++) {
      this.#extras += 1;
      const sessionId = `extra-${this.proc.name}-${this.proc.life}-${this.#extras}`;
      const config = {
        ...configOf(this.#world, this.proc, sessionId, 1, graph, 0),
        tenantId: i % 2 === 0 ? "tenant-b" : "tenant-c",
      };
      const opened = this.runtime.openSession({ config, transport: { send: () => {} }, keepJournal: true });
      if (!opened.ok) continue;
      const life = this.#lives.get(config);
      if (life !== undefined) {
        life.session = opened.value;
        this.#extraLives.push(life);
      }
      const session = opened.value;
      session.receive({ kind: "control", epoch: 1, sequence: 1, signal: "connected", controlClass: "overtaking" });
      for (let n = 0; n < 3; n++) session.say("hello there");
      // Work for many rounds, so that tenants have to take turns.
      for (let n = 0; n < extraWork; n++) session.operator("cancel_turn", { turn: 1_000_000 + n });
      this.proc.after(60 + i, () => session.operator("end"));
    }
  }

  extrasOpen(): number {
    return this.#extraLives.filter((life) => !life.over).length;
  }

  /** What came to the runtime's end of the link. */
  onLink(output: Output): void {
    switch (output.kind) {
      case "session_opened":
        return this.#bound(output.ref);
      case "session_closed":
      case "session_broken":
        if (this.#binding?.ref !== output.ref) return;
        if (output.kind === "session_broken") {
          const acked = output.peerAcked.control;
          this.#resend.push(...this.#binding.unacked.filter((u) => u.seq > acked).map((u) => u.payload));
        }
        this.#binding = null;
        this.#waiting = [];
        // As the shipped end of the link has it: closed by the adapter, its session is told so at once.
        if (output.kind === "session_closed" && output.by === "peer") this.#lineIsGone(output.reason);
        else this.#awaitPair();
        return;
      case "event": {
        const { event } = output;
        this.#world.trace.add({
          kind: "link_data",
          at: "runtime",
          binding: this.#bindingName(output.ref),
          seq: event.seq,
          turn: event.turn,
          generation: event.generation,
        });
        this.#deliver(event.payload.message);
        this.link.runtime.step({ kind: "consumed", ref: output.ref, audioUs: event.audioUs, bytes: event.bytes });
        return;
      }
      case "frame_refused":
        // Declared: data that a cut-off has met on its way.
        if (output.lane !== "data" || output.reason !== "fenced") return;
        return this.#world.trace.add({
          kind: "link_gap",
          at: "runtime",
          binding: this.#bindingName(output.ref),
          fromSeq: output.seq,
          toSeq: output.seq,
        });
      case "gap":
      case "skipped":
        if (output.lane !== "data") return;
        return this.#world.trace.add({
          kind: "link_gap",
          at: "runtime",
          binding: this.#bindingName(output.ref),
          fromSeq: output.fromSeq,
          toSeq: output.toSeq,
        });
      case "overtaking":
        return this.#deliver(output.payload.message);
      case "positioned":
        return this.#deliver(output.payload.message);
      default:
        return;
    }
  }

  /** As the shipped link session does: a pair that does not come back in the session's time is the caller's end. */
  #awaitPair(): void {
    const { session } = this;
    if (session === null) return;
    this.#away?.clear();
    this.#away = this.proc.after(session.config.policy.reconnectMs, () => {
      if (this.session === session) this.#lineIsGone("connection_lost");
    });
  }

  /** As the shipped end of the link does: a session that nobody has connected to yet is connected, then ended. */
  #lineIsGone(reason: string): void {
    const { session } = this;
    if (session === null) return;
    const { epoch } = this.holder?.state ?? { epoch: session.config.authority.epoch };
    const head = { kind: "control", epoch, controlClass: "overtaking" } as const;
    const sequence = this.#controlSequence + 1;
    if (this.#connected !== session) session.receive({ ...head, sequence, signal: "connected" });
    session.receive({ ...head, sequence: sequence + 1, signal: "ended", reason });
  }

  #connected: RuntimeSession | null = null;
  /** Said on a binding whose session is still being opened, as the shipped end of the link has its opening wait. */
  #waiting: (TransportEgress | TransportIngress)[] = [];

  #away: TimerHandle | null = null;
  #controlSequence = 0;

  /** The adapter says that this holder is stale. */
  stale(receiver: string, floor: number): void {
    this.holder?.step({ kind: "stale", receiver, floor });
  }

  send(life: Life | null, message: TransportEgress): void {
    const world = this.#world;
    if (!this.#effect()) return;
    if (life !== null) world.trace.add({ kind: "egress", life: life.id, message });
    const holder = this.holder;
    // A session that this process has given up speaks to nobody any more.
    if (holder === null || (this.life !== null && life !== this.life)) return;
    const may = holder.mayAct("adapter");
    if (may.ok) return this.#transmit({ message, signed: may.attachGrant ? holder.state.signed : null });
    if (may.reason === "awaiting_ack") {
      if (this.#early.length < unackedMax) this.#early.push(message);
      return;
    }
    if (!this.unruly) return;
    world.fault("stale_holder_sending");
    this.#transmit({ message, signed: null });
  }

  #extraLives: Life[] = [];
  readonly #lives = new Map<SessionConfig, Life>();

  #lifeOf(config: SessionConfig): Life {
    const life = new Life(this.#world, this.proc, config);
    this.#lives.set(config, life);
    this.#world.lives.push(life);
    return life;
  }

  #open(holder: Holder): void {
    const world = this.#world;
    if (this.proc.dead() || this.session !== null) return;
    const { epoch, deadlineNs } = holder.state;
    const { texts, ...said } = textsOf(this.#world);
    const config = { ...configOf(this.#world, this.proc, SESSION, epoch, world.graph, deadlineNs), ...said };
    const turnsBefore = world.adapter.turnSeen;
    let life: Life | null = null;
    const opened = this.runtime.openSession({
      config: { ...config, turnsBefore },
      transport: { send: (message) => this.send(life, message) },
      keepJournal: true,
      texts,
    });
    if (!opened.ok) {
      if (opened.error.code === "session_exists")
        this.proc.after(20, () => this.holder === holder && this.#open(holder));
      return;
    }
    this.session = opened.value;
    life = world.lives.at(-1) ?? null;
    this.life = life;
    if (this.life !== null) this.life.session = opened.value;
    const predecessorHead = world.replay.heads.get(SESSION) ?? "";
    this.exporting.open(epoch, predecessorHead);
    for (const message of this.#waiting.splice(0)) this.#deliver(message);
    world.adapter.dialHolder();
  }

  #endOld(): void {
    const { session, life } = this;
    this.session = null;
    this.life = null;
    this.#resend = [];
    this.#early = [];
    if (session !== null && !life?.over) session.operator("end", { reason: "succeeded" });
  }

  #fenced(holder: Holder, reason: string): void {
    const world = this.#world;
    world.trace.add({ kind: "note", text: `${this.proc.name} fenced: ${reason}` });
    if (this.holder !== holder || this.session === null) return;
    const { session } = this;
    const deadlineNs = this.proc.clock.nowNs();
    if (reason === "revoked") {
      session.update({ type: "authority", kind: "revoked", epoch: holder.state.epoch, deadlineNs });
    } else {
      session.update({ type: "authority", kind: "granted_elsewhere", epoch: holder.state.epoch + 1, deadlineNs });
    }
    // Whoever operates it does not know yet: what is asked for now must be refused (T3, T4).
    this.proc.after(world.rng.float(5, 60), () => session.say("anybody there"));
    this.proc.after(tokenMs, () => {
      if (this.session === session) this.#endOld();
    });
  }

  #bindingName(ref: number): string {
    return `${this.proc.name}/${this.link.runtime.state.incarnation}/${ref}/${this.proc.life}`;
  }

  #bound(ref: number): void {
    this.#binding = { ref, unacked: [] };
    this.#away?.clear();
    this.#away = null;
    const resend = this.#resend.splice(0);
    for (const payload of resend) this.#transmit(payload);
    this.#flushEarly();
  }

  #flushEarly(): void {
    const early = this.#early.splice(0);
    for (const message of early) {
      const may = this.holder?.mayAct("adapter");
      if (may?.ok === true)
        this.#transmit({ message, signed: may.attachGrant ? (this.holder?.state.signed ?? null) : null });
      else if (may?.reason === "awaiting_ack") this.#early.push(message);
    }
  }

  #deliver(message: TransportEgress | TransportIngress): void {
    const { session, life } = this;
    if (session === null || life === null) {
      if (this.#waiting.length < unackedMax) this.#waiting.push(message);
      return;
    }
    this.#world.trace.add({ kind: "ingress", life: life.id, message: message as TransportIngress });
    if (message.kind === "control" && "sequence" in message) this.#controlSequence = message.sequence;
    if (message.kind === "control" && message.signal === "connected") this.#connected = session;
    session.receive(message as TransportIngress);
  }

  #transmit(payload: Payload): void {
    const message = payload.message as TransportEgress;
    const binding = this.#binding;
    const control = message.kind !== "media";
    if (binding === null) {
      if (control && this.#resend.length < unackedMax) this.#resend.push(payload);
      return;
    }
    const { ref } = binding;
    if (message.kind === "media") {
      const { turn, generation, durationUs, bytes, end, sequence } = message;
      const urgent = sequence === 1 || end;
      this.link.runtime.step({
        kind: "send",
        ref,
        item: {
          lane: "data",
          turn: turn === 0 ? null : turn,
          generation,
          audioUs: durationUs,
          bytes: bytes.length,
          urgent,
          payload,
        },
      });
      return;
    }
    const seq = (this.link.runtime.state.sessions[ref]?.controlSeq ?? 0) + 1;
    if (message.kind === "fence") {
      const { turn, generation, all } = message;
      const cutoff = { turn, generation, olderTurns: all };
      this.link.runtime.step({ kind: "send", ref, item: { lane: "control", class: "overtaking", cutoff, payload } });
    } else {
      const held =
        message.kind === "control" && (message.signal === "output_hold" || message.signal === "output_resume");
      const afterMedia = message.kind !== "text" && !held;
      this.link.runtime.step({
        kind: "send",
        ref,
        item: { lane: "control", class: "positioned", afterMedia, payload },
      });
    }
    binding.unacked.push({ seq, payload });
    if (binding.unacked.length > unackedMax) binding.unacked.shift();
  }

  readonly #streams = new WeakMap<object, Life>();

  #tapped(spool: Spool): Spool {
    const append = spool.append.bind(spool);
    spool.append = (stream, kind, payload, evidence) => {
      if (!this.#effect()) return { ok: false, code: "closed", detail: "the process is dead", exhausted: false };
      // Where no byte is left anyway nothing is tried at the store: what is set aside is not used up (T9), it waits.
      this.#fullNow = kind === "plan" && !this.storeFull && this.fullAtPlan();
      const result = append(stream, kind, payload, evidence);
      this.#fullNow = false;
      // The id is the session's own object: it stays when a rotation gives it another epoch.
      if (kind === "session") this.#streams.set(stream, this.#world.lives.at(-1) as Life);
      const life = this.#streams.get(stream);
      if (typeof payload === "string") {
        life?.recorded(kind, payload, result.ok);
        if (result.ok && stream.sessionId === SESSION) this.exporting.record(stream.epoch, kind, payload, result.seq);
      }
      return result;
    };
    return spool;
  }
}
