import type { TimerHandle } from "@rspp/ports/clock";
import type { TransportEgress, TransportIngress } from "@rspp/ports/transport";
import type { SignedGrant } from "@rspp/protocol/lease-types";
import { linkStep } from "@rspp/protocol/link";
import { createLink } from "@rspp/protocol/link-state";
import { linkNextDeadline } from "@rspp/protocol/link-tick";
import type { Connection, LinkFrame, LinkInput, LinkOutput, LinkState, Receipt } from "@rspp/protocol/link-types";
import { defaultLinkConfig } from "@rspp/protocol/link-types";
import type { VirtualClock } from "@rspp/runtime/clock/virtual-clock";
import { Channel, newPath, type Path } from "./network.ts";
import type { SimProcess } from "./process.ts";
import type { Rng } from "./rng.ts";
import type { TraceEvent } from "./trace.ts";

/** What travels on a link: a message of the transport port, with the grant that proves its epoch where it is needed. */
export interface Payload {
  message: TransportEgress | TransportIngress;
  signed: SignedGrant | null;
}
export type Output = LinkOutput<Payload>;
export type Side = "adapter" | "runtime";

/** One end of the link: the shipped machine, its timer, and whoever listens. */
export class LinkEnd {
  readonly proc: SimProcess;
  readonly state: LinkState<Payload>;
  readonly #transmit: (connection: Connection, incarnation: number, frames: LinkFrame<Payload>[]) => void;
  readonly #listener: (output: Output) => void;
  #timer: TimerHandle | null = null;
  #timerNs = -1;

  constructor(
    side: Side,
    proc: SimProcess,
    transmit: (connection: Connection, incarnation: number, frames: LinkFrame<Payload>[]) => void,
    listener: (output: Output) => void,
  ) {
    this.proc = proc;
    this.state = createLink(defaultLinkConfig(side));
    this.#transmit = transmit;
    this.#listener = listener;
  }

  step(input: LinkInput<Payload>): Output[] {
    const outputs = linkStep(this.state, input, this.proc.clock.nowNs());
    for (const output of outputs) {
      if (output.kind === "transmit") this.#transmit(output.connection, output.incarnation, output.frames);
    }
    for (const output of outputs) if (output.kind !== "transmit") this.#listener(output);
    this.#arm();
    return outputs;
  }

  #arm(): void {
    const next = linkNextDeadline(this.state);
    if (next === null || (this.#timer !== null && this.#timerNs <= next)) return;
    this.#timer?.clear();
    this.#timerNs = next;
    this.#timer = this.proc.clock.timerAt(next, () => {
      this.#timer = null;
      this.step({ kind: "tick", idle: false });
    });
  }
}

const dialAgainMs = 800;

export interface Wires {
  toRuntime: Record<Connection, Channel>;
  toAdapter: Record<Connection, Channel>;
}

/** The pair of connections between the adapter's process and one runtime's, over a network that can be spoilt. */
export class LinkPair {
  adapter: LinkEnd;
  runtime: LinkEnd;
  /** By direction, since a network can fail one way only. */
  readonly paths: Record<keyof Wires, Record<Connection, Path>>;
  readonly #clock: VirtualClock;
  readonly #rng: Rng;
  readonly #runtimeProc: SimProcess;
  readonly #onRuntime: (output: Output) => void;
  readonly #adapterProc: SimProcess;
  readonly #onAdapter: (output: Output) => void;
  readonly #tell: (event: TraceEvent) => void;
  #incarnation = 0;
  #wires: Wires | null = null;

  constructor(
    clock: VirtualClock,
    rng: Rng,
    adapterProc: SimProcess,
    runtimeProc: SimProcess,
    onAdapter: (output: Output) => void,
    onRuntime: (output: Output) => void,
    tell: (event: TraceEvent) => void,
  ) {
    this.#tell = tell;
    this.#clock = clock;
    this.#rng = rng;
    this.#runtimeProc = runtimeProc;
    this.#onRuntime = onRuntime;
    this.#adapterProc = adapterProc;
    this.#onAdapter = onAdapter;
    const base = rng.float(0.3, 6);
    const control = newPath(base, rng.float(0, 2));
    const media = newPath(base + rng.float(-0.2, 3), rng.float(0, 6));
    this.paths = { toRuntime: { control, media }, toAdapter: { control: { ...control }, media: { ...media } } };
    this.adapter = this.#newAdapterEnd();
    this.runtime = this.#newRuntimeEnd();
  }

  up(): boolean {
    return this.adapter.state.phase === "up";
  }

  connected(): boolean {
    return this.#wires !== null;
  }

  /** The adapter dials both connections of a new incarnation. */
  dial(): void {
    this.#cut();
    this.#incarnation += 1;
    const incarnation = this.#incarnation;
    const channel = (way: keyof Wires, connection: Connection): Channel => {
      const to = way === "toRuntime" ? this.#runtimeProc : this.adapter.proc;
      const rng = this.#rng.fork(`${incarnation}/${connection}/${to.name}`);
      return new Channel(this.#clock, rng, this.paths[way][connection], to);
    };
    const wires: Wires = {
      toRuntime: { control: channel("toRuntime", "control"), media: channel("toRuntime", "media") },
      toAdapter: { control: channel("toAdapter", "control"), media: channel("toAdapter", "media") },
    };
    this.#wires = wires;
    // Nobody answers a dead process's socket: dialled again, under the next incarnation.
    this.adapter.proc.after(dialAgainMs, () => {
      if (this.#wires === wires && !this.up()) this.dial();
    });
    for (const connection of ["control", "media"] as const) {
      wires.toRuntime[connection].send(64, () => {
        this.runtime.step({ kind: "connected", connection, incarnation });
        wires.toAdapter[connection].send(64, () => this.adapter.step({ kind: "connected", connection, incarnation }));
      });
    }
  }

  /** The pair is lost with all that is on it; each end notices in its own time. */
  lose(): void {
    if (this.#wires === null) return;
    const incarnation = this.#incarnation;
    this.#cut();
    for (const end of [this.adapter, this.runtime]) {
      const connection = this.#rng.chance(50) ? "control" : "media";
      if (end.proc.dead()) continue;
      end.proc.after(this.#rng.float(0, 40), () => end.step({ kind: "disconnected", connection, incarnation }));
    }
  }

  /** The runtime's process is gone, and its end with it. */
  runtimeDied(): void {
    this.lose();
    this.runtime = this.#newRuntimeEnd();
  }

  adapterDied(): void {
    this.lose();
    this.adapter = this.#newAdapterEnd();
  }

  mended(): void {
    const wires = this.#wires;
    if (wires === null) return;
    for (const side of [wires.toRuntime, wires.toAdapter]) for (const channel of Object.values(side)) channel.mended();
  }

  #granted(way: keyof Wires, incarnation: number, entries: readonly Receipt[]): void {
    const back = way === "toRuntime" ? "toAdapter" : "toRuntime";
    for (const { ref, grantedAudioUs, grantedBytes } of entries) {
      const binding = `${this.#runtimeProc.name} ${back} ${incarnation} ${ref}`;
      this.#tell({ kind: "link_credit", binding, what: "granted", audioUs: grantedAudioUs, bytes: grantedBytes });
    }
  }

  #newAdapterEnd(): LinkEnd {
    const carry = (c: Connection, i: number, f: LinkFrame<Payload>[]): void => this.#carry("toRuntime", c, i, f);
    return new LinkEnd("adapter", this.#adapterProc, carry, this.#onAdapter);
  }

  #newRuntimeEnd(): LinkEnd {
    const carry = (c: Connection, i: number, f: LinkFrame<Payload>[]): void => this.#carry("toAdapter", c, i, f);
    return new LinkEnd("runtime", this.#runtimeProc, carry, this.#onRuntime);
  }

  #cut(): void {
    const wires = this.#wires;
    this.#wires = null;
    if (wires === null) return;
    for (const side of [wires.toRuntime, wires.toAdapter]) for (const channel of Object.values(side)) channel.cut();
  }

  #carry(way: keyof Wires, connection: Connection, incarnation: number, frames: LinkFrame<Payload>[]): void {
    const wires = this.#wires;
    if (wires === null || incarnation !== this.#incarnation) return;
    for (const frame of frames) {
      if (frame.kind === "event" && frame.lane === "data") {
        const binding = `${this.#runtimeProc.name} ${way} ${incarnation} ${frame.ref}`;
        const { sentAudioUs, sentBytes } = frame;
        this.#tell({ kind: "link_credit", binding, what: "sent", audioUs: sentAudioUs, bytes: sentBytes });
      }
      const bytes = frame.kind === "event" ? frame.bytes + 40 : 80;
      const deliver = (): void => {
        const end = way === "toRuntime" ? this.runtime : this.adapter;
        if (frame.kind === "receipts") this.#granted(way, incarnation, frame.entries);
        end.step({ kind: "frame", connection, incarnation, frame });
      };
      // Only what has a place in its lane may be harmed alone: the rest is the connection's own order.
      if (connection === "media" && frame.kind === "event") wires[way].media.sendLoose(bytes, deliver);
      else wires[way][connection].send(bytes, deliver);
    }
  }
}
