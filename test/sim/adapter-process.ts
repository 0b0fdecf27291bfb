import type { TransportEgress, TransportIngress } from "@rspp/ports/transport";
import type { FloorAnswer, SignedGrant } from "@rspp/protocol/lease-types";
import { createLoopbackAdapter, type LoopbackAdapter } from "@rspp/transport-loopback/adapter";
import { Receiver } from "./lease-process.ts";
import type { LinkPair, Output } from "./link-pair.ts";
import type { SimProcess } from "./process.ts";
import type { Rng } from "./rng.ts";
import { SESSION, type World } from "./world.ts";

interface Sent {
  /** Control sequence in the binding it was sent under; 0 while not sent. */
  seq: number;
  atNs: number;
  message: TransportIngress;
}

const sentMax = 256;
/** What was said this shortly before a rotation may have met the new floor under way: it is said again. */
const againNs = 400_000_000;

/** The caller's adapter: the shipped loopback device behind a receiver's floor and a link to whichever runtime holds the session. */
export class AdapterProcess {
  readonly proc: SimProcess;
  receiver: Receiver;
  device: LoopbackAdapter;
  /** Who held the session when this process died last. */
  lostHolder = "";
  /** Of devices that died. */
  samplesAfterFenceBefore = 0;
  readonly links = new Map<string, LinkPair>();
  /** Highest turn a message has named: what a successor's numbers go on after. */
  turnSeen = 0;
  holder = "";
  readonly #world: World;
  /** What becomes of what the caller's side says: each is told of every one. */
  readonly harm: { control: (() => void) | null; audioPercent: number; audio: () => void } = {
    control: null,
    audioPercent: 0,
    audio: () => {},
  };
  readonly #harmRng: Rng;
  #ref = 0;
  #online = true;
  #sent: Sent[] = [];
  #refusal = "";

  constructor(world: World, proc: SimProcess, receiver: Receiver) {
    this.#world = world;
    this.proc = proc;
    this.receiver = receiver;
    this.#harmRng = world.rng.fork("adapter/harm");
    this.#playoutBufferMs = world.rng.pick([0, 20, 40]);
    this.device = this.#newDevice();
  }

  readonly #playoutBufferMs: number;

  #newDevice(): LoopbackAdapter {
    const { proc } = this;
    const { trace } = this.#world;
    return createLoopbackAdapter({
      clock: proc.clock,
      epoch: 0,
      playoutBufferMs: this.#playoutBufferMs,
      onRefused: (refusal) => {
        this.#refusal = refusal.reason;
      },
      onPlayed: (chunk) => {
        const { turn, generation, fromUs, toUs, startSample, samples } = chunk;
        const localNs = this.#originNs + startSample * 62_500;
        const fromNs = proc.worldNs(localNs);
        const toNs = proc.worldNs(localNs + samples.length * 62_500);
        trace.add({ kind: "played", turn, generation, fromNs, toNs, fromUs, toUs });
      },
    });
  }

  #originNs = 0;

  start(): void {
    this.#originNs = this.proc.clock.nowNs();
    const { device } = this;
    // Whoever still holds on to a device that died says nothing with it.
    device.connect({ receive: (message) => (device === this.device ? this.#say(message) : undefined) });
    this.device.lose("no_runtime_yet");
    this.#online = false;
  }

  /** The process dies with its device, and its links with it; the caller hears nothing any more. */
  crash(): void {
    const { proc } = this;
    if (proc.dead()) return;
    this.lostHolder = this.holder;
    this.#lostLife = this.#holderLife;
    this.samplesAfterFenceBefore += this.device.stats().samplesAfterFence;
    const life = this.#world.holder()?.life;
    if (life !== undefined && life !== null) this.#world.trace.tell({ kind: "adapter_died", life: life.id });
    proc.kill();
    for (const link of this.links.values()) link.adapterDied();
    this.#ref = 0;
    this.#online = false;
    this.#away = false;
    this.#sent = [];
    this.holder = "";
    this.#holderLife = "";
  }

  /** It comes back knowing of no call: it refuses everything until the lease service has told it the floors. */
  restart(syncMs: number): void {
    const { proc } = this;
    if (!proc.dead()) return;
    proc.restart();
    this.receiver = new Receiver("adapter", this.#world.lease, this.#world.trace, false);
    this.device = this.#newDevice();
    this.start();
    proc.after(syncMs, () => this.receiver.sync());
  }

  #lostLife = "";

  online(): boolean {
    return this.#online;
  }

  /** A floor announced by a holder. */
  floor(signed: SignedGrant): FloorAnswer {
    const answer = this.receiver.floor(signed);
    if (answer.ok && answer.raised) this.#raised(signed);
    return answer;
  }

  /** Binds the session at its holder, dialling when there is no pair. */
  dialHolder(): void {
    const link = this.links.get(this.holder);
    if (link === undefined || this.#ref !== 0) return;
    if (link.up()) return this.#bind(link);
    if (!link.connected()) link.dial();
  }

  onLink(name: string, output: Output): void {
    const current = name === this.holder;
    if (output.kind === "pair_up" || output.kind === "pair_dead" || output.kind.startsWith("session_"))
      this.#world.trace.add({ kind: "note", text: `adapter link ${name}: ${output.kind}` });
    switch (output.kind) {
      case "pair_up":
        if (current) this.#bind(this.links.get(name) as LinkPair);
        return;
      case "session_bound":
        if (current && output.ref === this.#ref) this.#ready();
        return;
      case "session_broken":
        if (current && output.ref === this.#ref) this.#broken(output.peerAcked.control);
        return;
      case "session_closed":
        if (current && output.ref === this.#ref) this.#broken(Number.MAX_SAFE_INTEGER);
        return;
      case "pair_dead":
        this.proc.after(this.#world.rng.int(20, 120), () => {
          if (name === this.holder) this.dialHolder();
        });
        return;
      case "event": {
        const { event } = output;
        this.#world.trace.add({
          kind: "link_data",
          at: "adapter",
          binding: this.#bindingName(name, output.ref),
          seq: event.seq,
          turn: event.turn,
          generation: event.generation,
        });
        this.#take(name, event.payload.message as TransportEgress, event.payload.signed);
        this.links
          .get(name)
          ?.adapter.step({ kind: "consumed", ref: output.ref, audioUs: event.audioUs, bytes: event.bytes });
        return;
      }
      case "frame_refused":
        // Declared: data that a cut-off has met on its way.
        if (output.lane !== "data" || output.reason !== "fenced") return;
        return this.#world.trace.add({
          kind: "link_gap",
          at: "adapter",
          binding: this.#bindingName(name, output.ref),
          fromSeq: output.seq,
          toSeq: output.seq,
        });
      case "gap":
      case "skipped":
        if (output.lane !== "data") return;
        return this.#world.trace.add({
          kind: "link_gap",
          at: "adapter",
          binding: this.#bindingName(name, output.ref),
          fromSeq: output.fromSeq,
          toSeq: output.toSeq,
        });
      case "overtaking":
      case "positioned":
        if (output.kind === "positioned") this.#position(name, output);
        else this.#fence(name, output);
        return this.#take(name, output.payload.message as TransportEgress, output.payload.signed);
      default:
        return;
    }
  }

  #position(name: string, output: Extract<Output, { kind: "positioned" }>): void {
    const binding = this.links.get(name)?.adapter.state.sessions[output.ref];
    const seenMedia = binding === undefined ? Number.MAX_SAFE_INTEGER : binding.inData.next - 1;
    const { message } = output.payload;
    const what = "signal" in message ? `${message.signal}#${message.turn ?? 0}` : message.kind;
    this.#world.trace.add({
      kind: "positioned",
      at: "adapter",
      lastMedia: output.lastMediaSeq,
      seenMedia,
      forced: output.forced,
      what,
      epoch: message.epoch,
    });
  }

  #fence(name: string, output: Extract<Output, { kind: "overtaking" }>): void {
    const { turn, generation } = output.cutoff;
    this.#world.trace.add({ kind: "link_fence", binding: this.#bindingName(name, output.ref), turn, generation });
  }

  #bindingName(name: string, ref: number): string {
    return `${name}/${this.links.get(name)?.adapter.state.incarnation}/${ref}`;
  }

  #raised(signed: SignedGrant): void {
    const { epoch, holder } = signed.grant;
    const name = (holder ?? "").split("/")[0] ?? "";
    const taken = this.holder !== "" && (holder ?? "") !== this.#holderLife;
    this.device.raiseEpoch(epoch);
    // Of a call that died with this process's last life, nothing is known here any more.
    if (holder === null || holder === this.#lostLife) return;
    if (taken || this.holder === "") {
      this.#leave();
      // Nothing of the predecessor is heard any more, and nothing it said is answered by another.
      this.#sent = [];
      if (taken) this.device.disconnect("taken_over");
      this.#sent = [];
      this.holder = name;
      this.#holderLife = holder;
      return;
    }
    const since = this.proc.clock.nowNs() - againNs;
    for (const sent of this.#sent) {
      if (sent.atNs < since || sent.message.epoch >= epoch) continue;
      sent.message = { ...sent.message, epoch };
      sent.atNs = this.proc.clock.nowNs();
      this.#transmit(sent);
    }
  }

  #holderLife = "";

  #leave(): void {
    const link = this.links.get(this.holder);
    if (link !== undefined && this.#ref !== 0 && link.up())
      link.adapter.step({ kind: "unbind", ref: this.#ref, reason: "taken_over" });
    this.#ref = 0;
    this.#offline();
  }

  #offline(): void {
    if (!this.#online) return;
    this.#online = false;
    this.device.lose("link_lost");
  }

  #broken(acked: number): void {
    this.#ref = 0;
    this.#sent = this.#sent.filter((sent) => sent.seq === 0 || sent.seq > acked);
    for (const sent of this.#sent) sent.seq = 0;
    this.#offline();
    this.proc.after(this.#world.rng.int(5, 60), () => this.dialHolder());
  }

  #bind(link: LinkPair): void {
    if (this.#ref !== 0 || !link.up()) return;
    const epoch = this.device === undefined ? 0 : (this.receiver.state.floors[SESSION]?.epoch ?? 0);
    const constants = {
      tenant: "tenant-a",
      session: SESSION,
      pipelineVersion: "p@1",
      epoch,
      codec: "pcm_s16le",
      sampleRateHz: 16_000,
      channels: 1,
    };
    const next = link.adapter.state.nextRef;
    this.#ref = next;
    link.adapter.step({ kind: "bind", constants, supersedes: null });
  }

  /** The binding stands: first what had not been acted on, then the caller is back. */
  #ready(): void {
    for (const sent of this.#sent) {
      const epoch = this.receiver.state.floors[SESSION]?.epoch ?? 0;
      if (sent.message.epoch < epoch) sent.message = { ...sent.message, epoch };
      this.#transmit(sent);
    }
    if (this.#online || this.#away) return;
    this.#online = true;
    this.device.reconnect();
  }

  /** The caller is away by its own doing, link or no link. */
  #away = false;

  leave(how: "lose" | "disconnect"): boolean {
    if (!this.#online || this.#away) return false;
    this.#away = true;
    this.#online = false;
    this.device[how]("caller_away");
    return true;
  }

  comeBack(): void {
    if (!this.#away) return;
    this.#away = false;
    if (this.#ref === 0 || this.#online) return;
    this.#online = true;
    this.device.reconnect();
  }

  #take(name: string, message: TransportEgress, signed: SignedGrant | null): void {
    const { trace } = this.#world;
    const answer = this.receiver.accept(SESSION, message.epoch, signed, message.kind);
    if (!answer.ok) {
      trace.add({ kind: "adapter", message, refused: answer.reason });
      if (answer.floor > message.epoch) this.#world.stale(this.proc, name, "adapter", answer.floor);
      return;
    }
    if (answer.raised && signed !== null) this.#raised(signed);
    if ("turn" in message) this.turnSeen = Math.max(this.turnSeen, message.turn);
    this.#refusal = "";
    if (message.kind === "media" && message.turn > 0) {
      const { turn, offsetUs, durationUs, bytes } = message;
      trace.tell({ kind: "media_in", turn, offsetUs, durationUs, voice: this.#world.voices.of(bytes) });
    }
    // Without a session end a close would stop the microphone for good: the next holder needs it.
    if (message.kind !== "close") this.device.send(message);
    trace.add({ kind: "adapter", message, refused: this.#refusal });
  }

  #say(message: TransportIngress): void {
    if (this.proc.dead()) return;
    if (message.kind === "audio") {
      const link = this.links.get(this.holder);
      if (link === undefined || this.#ref === 0) return;
      const { audioPercent } = this.harm;
      const twice = audioPercent > 0 && this.#harmRng.chance(audioPercent);
      if (twice) this.harm.audio();
      this.#sendAudio(link, message);
      if (twice) this.#sendAudio(link, message);
      return;
    }
    this.#world.trace.add({ kind: "adapter_sends", message });
    const sent: Sent = { seq: 0, atNs: this.proc.clock.nowNs(), message };
    this.#sent.push(sent);
    if (this.#sent.length > sentMax) this.#sent.shift();
    this.#transmit(sent);
    if (this.harm.control === null || message.kind !== "control") return;
    this.harm.control();
    this.#transmit(sent);
  }

  #sendAudio(link: LinkPair, message: Extract<TransportIngress, { kind: "audio" }>): void {
    link.adapter.step({
      kind: "send",
      ref: this.#ref,
      item: {
        lane: "data",
        turn: null,
        generation: 0,
        audioUs: message.durationUs,
        bytes: message.bytes.length,
        urgent: false,
        payload: { message, signed: null },
      },
    });
  }

  #transmit(sent: Sent): void {
    const link = this.links.get(this.holder);
    const session = this.#ref === 0 ? undefined : link?.adapter.state.sessions[this.#ref];
    if (link === undefined || session === undefined || !session.bound) return;
    const { message } = sent;
    const payload = { message, signed: null };
    sent.seq = session.controlSeq + 1;
    const overtaking = message.kind === "control" && message.controlClass === "overtaking";
    if (overtaking) {
      const cutoff = { turn: 0, generation: 0, olderTurns: false };
      link.adapter.step({
        kind: "send",
        ref: this.#ref,
        item: { lane: "control", class: "overtaking", cutoff, payload },
      });
      return;
    }
    const afterMedia = message.kind === "control";
    link.adapter.step({
      kind: "send",
      ref: this.#ref,
      item: { lane: "control", class: "positioned", afterMedia, payload },
    });
  }
}
