import { err, type Result } from "@rspp/base/result";
import { Lane } from "@rspp/gen/rspp/common/v1/lane_pb";
import type { Envelope } from "@rspp/gen/rspp/event/v1/event_pb";
import type { LaneMarks, Outgoing, SessionConstants } from "@rspp/protocol/link-types";
import type { LinkPayload } from "@rspp/wire/link-control";
import { eventCost } from "@rspp/wire/link-frame";
import { fieldError, type WireError } from "@rspp/wire/wire-error";
import type { LinkControlClass, LinkSendError, LinkSessionPort } from "./link-api.ts";
import type { LinkEnd } from "./link-end.ts";

const nothing: Readonly<LaneMarks> = Object.freeze({ control: 0, data: 0, telemetry: 0 });

/** One session of a {@link LinkEnd}. */
export class LinkSessionEnd implements LinkSessionPort {
  readonly ref: number;
  readonly constants: SessionConstants;
  readonly origin: "self" | "peer";
  readonly #end: LinkEnd;
  readonly #epoch: bigint;
  #ended = false;

  constructor(end: LinkEnd, ref: number, constants: SessionConstants, origin: "self" | "peer") {
    this.#end = end;
    this.ref = ref;
    this.constants = constants;
    this.origin = origin;
    this.#epoch = BigInt(constants.epoch);
  }

  get ended(): boolean {
    return this.#ended;
  }

  markEnded(): void {
    this.#ended = true;
  }

  sendMedia(envelope: Envelope, urgent = false): Result<number, LinkSendError> {
    const problem = this.#foreign(envelope);
    if (problem !== null) return err({ kind: "invalid", error: problem });
    const cost = eventCost(envelope);
    const payload: LinkPayload = { kind: "event", envelope };
    if (envelope.lane === Lane.TELEMETRY) {
      return this.#end.sendOf(this.ref, { lane: "telemetry", bytes: cost.bytes, payload });
    }
    const turn = envelope.turnNumber === 0 ? null : envelope.turnNumber;
    const generation = envelope.fenceGeneration;
    return this.#end.sendOf(this.ref, { lane: "data", turn, generation, ...cost, urgent, payload });
  }

  sendControl(payload: LinkPayload, how: LinkControlClass): Result<number, LinkSendError> {
    if (this.#ended) return err({ kind: "refused", reason: "unknown_ref" });
    const problem = this.#end.checkControl(this.ref, payload, how);
    if (problem !== null) return err({ kind: "invalid", error: problem });
    const item: Outgoing<LinkPayload> =
      how.class === "overtaking"
        ? { lane: "control", class: "overtaking", cutoff: how.cutoff, payload }
        : { lane: "control", class: "positioned", afterMedia: how.afterMedia ?? true, payload };
    return this.#end.sendOf(this.ref, item);
  }

  consumed(audioUs: number, bytes: number): void {
    if (!this.#ended) this.#end.consumedOf(this.ref, audioUs, bytes);
  }

  get queuedItems(): number {
    return this.#end.sessionOf(this.ref)?.outData.items ?? 0;
  }

  get peerAcked(): Readonly<LaneMarks> {
    return this.#end.sessionOf(this.ref)?.peerAcked ?? nothing;
  }

  unbind(reason: string): void {
    if (!this.#ended) this.#end.unbindOf(this.ref, reason);
  }

  #foreign(e: Envelope): WireError | null {
    const c = this.constants;
    const field =
      e.tenantId !== c.tenant
        ? "tenant_id"
        : e.sessionId !== c.session
          ? "session_id"
          : e.pipelineVersion !== c.pipelineVersion
            ? "pipeline_version"
            : e.authorityEpoch !== this.#epoch
              ? "authority_epoch"
              : e.transportSequence !== 0n
                ? "transport_sequence"
                : e.lane !== Lane.DATA && e.lane !== Lane.TELEMETRY
                  ? "lane"
                  : null;
    if (field === null) return null;
    return fieldError(field, "binding.constant", "is not what the session_ref stands for", "bind a new session_ref");
  }
}
