/** What the caller's transport says, on its way to the runtime over one binding after another; kept until it has acted on it. */
import { create } from "@bufbuild/protobuf";
import { monoPlusNs, msToNs } from "@rspp/base/brand";
import { ok, type Result } from "@rspp/base/result";
import { FloorAckSchema } from "@rspp/gen/rspp/runtime/v1/link_pb";
import type { Clock, TimerHandle } from "@rspp/ports/clock";
import type { SessionNote } from "@rspp/ports/session-opener";
import type { LinkSendError } from "@rspp/rpc/link-api";
import type { AdapterBinding } from "./link-adapter-binding.ts";
import type { LinkItem } from "./link-codec.ts";
import { ingressToLink } from "./link-ingress.ts";
import { limits } from "./link-limits.ts";
import { observeItem } from "./link-observe.ts";
import { type Audio, type KeptAudio, type KeptSignal, Resend, type Signal } from "./link-resend.ts";

export interface OutgoingOwner {
  readonly clock: Clock;
  /** The binding that takes a message of this epoch; null: it waits for the next one. */
  taker(epoch: number): AdapterBinding | null;
  observed(): SessionNote["kind"][];
  unsent(kind: string): void;
}

export class Outgoing {
  readonly resend: Resend;
  readonly #owner: OutgoingOwner;
  readonly #fences = new Map<string, number>();
  /** A successor is being told what came before: all else waits behind it. */
  #backlog: TimerHandle | null = null;

  constructor(owner: OutgoingOwner, keeps: boolean) {
    this.#owner = owner;
    this.resend = new Resend(keeps);
  }

  audio(message: Audio): void {
    // Bytes are the transport's own again as soon as this has returned.
    const kept = this.resend.audio({ ...message, bytes: new Uint8Array(message.bytes) });
    if (this.#backlog !== null) return;
    const binding = this.#owner.taker(message.epoch);
    if (binding !== null) this.#sendAudio(binding, kept);
  }

  /** False when more waits than is kept: the session cannot go on. */
  signal(message: Signal, epoch: number): boolean {
    const kept = this.resend.signal(message);
    if (kept === null) return false;
    const binding = this.#backlog === null ? this.#owner.taker(epoch) : null;
    if (binding !== null) this.#sendSignal(binding, kept);
    return true;
  }

  fenced(turn: number, generation: number, sequence: number): void {
    this.#fences.set(`${turn}/${generation}`, sequence);
    for (const [oldest] of this.#fences) {
      if (this.#fences.size <= limits.LINK_FENCES_KEPT_MAX) return;
      this.#fences.delete(oldest);
    }
  }

  /** The runtime told what it has: the rest is said again, in order. How much; null when something is missing between. */
  goOn(binding: AdapterBinding, control: number, audio: number): number | null {
    this.stop();
    this.resend.detached();
    this.#fences.clear();
    const rest = this.resend.after(control, audio);
    for (const kept of rest ?? []) this.#send(binding, kept);
    return rest?.length ?? null;
  }

  /** A successor that has the audio up to `audio` is told `first`, then the rest, at a pace. How much that is. */
  tellAgain(audio: number, first: readonly Signal[]): number {
    this.stop();
    this.#fences.clear();
    const rest = this.resend.again(audio, first);
    this.#pump();
    return rest.length;
  }

  /** What waited while nothing took it. */
  flush(): void {
    this.stop();
    this.#pump();
  }

  stop(): void {
    this.#backlog?.clear();
    this.#backlog = null;
  }

  #pump(): void {
    this.#backlog = null;
    const { clock } = this.#owner;
    const binding = this.#owner.taker(0);
    if (binding === null) return;
    const rest = this.resend.unsent();
    for (const kept of rest.slice(0, limits.TAKEOVER_FRAMES_AT_ONCE)) this.#send(binding, kept);
    if (rest.length <= limits.TAKEOVER_FRAMES_AT_ONCE) return;
    const at = monoPlusNs(clock.nowNs(), msToNs(limits.TAKEOVER_PAUSE_MS));
    this.#backlog = clock.timerAt(at, () => this.#pump());
  }

  #send(binding: AdapterBinding, kept: KeptAudio | KeptSignal): void {
    if ("number" in kept) this.#sendSignal(binding, kept);
    else this.#sendAudio(binding, kept);
  }

  #sendAudio(binding: AdapterBinding, kept: KeptAudio): void {
    const item = ingressToLink(binding.codec, kept.message, () => 0);
    const sent = item.ok ? binding.send(item.value) : null;
    if (sent?.ok) kept.linkSeq = sent.value;
    else if (sent === null || !isAway(sent.error)) {
      kept.linkSeq = -1;
      this.#owner.unsent("audio");
    }
    this.resend.trim(binding.port.peerAcked);
  }

  #sendSignal(binding: AdapterBinding, kept: KeptSignal): void {
    const item = this.#signalItem(binding, kept.message);
    let sent = item.ok ? binding.send(item.value) : null;
    if (sent === null || (!sent.ok && !isAway(sent.error))) {
      this.#owner.unsent(kept.message.kind);
      if (this.resend.takeBack(kept)) return;
      // Its number is taken, and those of later ones follow from it: something that changes nothing goes in its place.
      sent = binding.send(observeItem(this.#owner.observed()));
    }
    if (!sent.ok) return;
    kept.linkSeq = sent.value;
    this.resend.trim(binding.port.peerAcked);
  }

  #signalItem({ codec }: AdapterBinding, message: Signal): Result<LinkItem, unknown> {
    if (message.kind === "observe") return ok(observeItem(message.kinds));
    if (message.kind === "floor_ack") {
      const value = create(FloorAckSchema, { floorEpoch: BigInt(message.epoch) });
      return ok({
        kind: "control",
        payload: { kind: "positioned", message: { case: "floorAck", value } },
        how: { class: "positioned", afterMedia: false },
      });
    }
    return ingressToLink(codec, message, (turn, generation) => this.#fences.get(`${turn}/${generation}`) ?? 0);
  }
}

/** The pair is gone: what was to be sent waits for the next. */
function isAway(error: LinkSendError): boolean {
  return error.kind === "refused" && (error.reason === "not_up" || error.reason === "unknown_ref");
}
