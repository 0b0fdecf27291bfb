/** A caller without a device: frames in, media counted and reported as played, so that little but the runtime costs. */
import type { SessionEnd, TransportEgress, TransportEnd } from "@rspp/ports/transport";
import { FRAME_US, PCM } from "./runtime-rig.ts";

export class BareLine implements TransportEnd {
  session: SessionEnd | null = null;
  media = 0;
  private sequence = 0;
  private readonly report: boolean;
  private playing = 0;
  private playedUs = 0;

  /** @param report tells the runtime that all was played, as soon as a turn's end has come. */
  constructor(report: boolean) {
    this.report = report;
  }

  connect(session: SessionEnd): void {
    this.session = session;
    session.receive({
      kind: "control",
      epoch: 1,
      sequence: 1,
      signal: "connected",
      controlClass: "overtaking",
      lastMediaSequence: 0,
      reason: "",
    });
  }

  send(message: TransportEgress): void {
    if (message.kind !== "media") return;
    this.media += 1;
    if (!this.report) return;
    const { epoch, turn, generation, durationUs, end } = message;
    const tell = (state: "accepted" | "started" | "completed") =>
      this.session?.receive({ kind: "delivery", epoch, turn, generation, state, playedUs: this.playedUs });
    if (turn !== this.playing) {
      this.playing = turn;
      this.playedUs = 0;
      tell("accepted");
      tell("started");
    }
    this.playedUs += durationUs;
    if (end) tell("completed");
  }

  frame(speech: boolean): void {
    const mediaUs = this.sequence * FRAME_US;
    this.sequence += 1;
    const bytes = new Uint8Array(640).fill(speech ? 1 : 0);
    const { sequence } = this;
    this.session?.receive({ kind: "audio", epoch: 1, sequence, mediaUs, durationUs: FRAME_US, format: PCM, bytes });
  }
}
