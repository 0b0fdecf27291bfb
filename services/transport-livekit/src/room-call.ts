/** One agent in one room: the caller's session from the moment its microphone is there until one of both is gone (F-083, F-091). */
import { monoPlusNs, msToNs } from "@rspp/base/brand";
import type { Clock, TimerHandle } from "@rspp/ports/clock";
import type { AudioFormat } from "@rspp/ports/provider";
import type { TokenClaims } from "@rspp/ports/session-opener";
import type { TransportEgress } from "@rspp/ports/transport";
import type { Fence, Flush } from "@rspp/transport/agent-line";
import { createCallerAudio } from "@rspp/transport/audio-in";
import type { Media } from "@rspp/transport/audio-out";
import { CallerWatch } from "@rspp/transport/caller-watch";
import type { GateReason } from "@rspp/transport/receiver-gate";
import type { SessionDesk } from "@rspp/transport/session-desk";
import { type CallerEnd, SessionLine } from "@rspp/transport/session-line";
import { type AgentRoom, ROOM_RATE_HZ, type RoomListener } from "./agent-room.ts";
import { limits } from "./limits.ts";
import { Playout } from "./playout.ts";
import { takeDigit, takeSignal } from "./signals.ts";

export const CALLER_FORMAT: AudioFormat = { codec: "pcm_s16le", rateHz: ROOM_RATE_HZ.caller, channels: 1 };
export const AGENT_FORMAT: AudioFormat = { codec: "pcm_s16le", rateHz: ROOM_RATE_HZ.agent, channels: 1 };
const frameUs = 20_000;
/** Samples louder than it are more than the noise of a line. */
const LOUD = 512;

type Egress<K extends TransportEgress["kind"]> = Extract<TransportEgress, { kind: K }>;

export interface RoomCallCounts {
  framesIn: number;
  framesOut: number;
  /** Frames for which the track had no room. */
  dropped: number;
  badSignals: number;
  rejoins: number;
}

export interface RoomCallOptions {
  readonly clock: Clock;
  readonly claims: TokenClaims;
  readonly token: string;
  readonly room: string;
  readonly callerIdentity: string;
  readonly callerWithinMs: number;
  readonly resumeWithinMs: number;
  readonly desk: SessionDesk<RoomCall>;
  readonly counts: RoomCallCounts;
  /** Joins the room; at the first time, and again when it was lost. */
  join(listener: RoomListener): Promise<AgentRoom>;
  /** Out of the room for good. Once. */
  gone(call: RoomCall): void;
}

export class RoomCall implements RoomListener, CallerEnd {
  readonly options: RoomCallOptions;
  readonly line: SessionLine;
  readonly #watch: CallerWatch;
  #room: AgentRoom | null = null;
  #playout: Playout | null = null;
  #state: "waiting" | "opening" | "open" | "over" = "waiting";
  #away = false;
  #sequence = 0;
  #deadline: TimerHandle | null = null;
  #ticking: TimerHandle | null = null;

  private constructor(options: RoomCallOptions, audio: Awaited<ReturnType<typeof createCallerAudio>>) {
    this.options = options;
    const { clock, claims } = options;
    this.line = new SessionLine({ clock, claims, audio, output: AGENT_FORMAT, end: this });
    this.#watch = new CallerWatch({ caller: this.line.caller, nowNs: () => clock.nowNs() });
  }

  /** In the room, waiting for its caller. @throws Error where the room cannot be joined. */
  static async join(options: RoomCallOptions): Promise<RoomCall> {
    const call = new RoomCall(options, await createCallerAudio(CALLER_FORMAT));
    try {
      call.#enter(await options.join(call));
    } catch (failure) {
      call.line.caller.close();
      throw failure;
    }
    call.#room?.agentState("initializing");
    call.#expect(options.callerWithinMs, "caller_absent");
    return call;
  }

  isAway(): boolean {
    return this.#away;
  }

  /** The adapter stops. */
  shutDown(reason: string): void {
    if (this.line.isOpen()) this.line.shutDown(reason);
    else this.#leave(reason);
  }

  // --- the room ---

  callerCame(): void {
    this.#cancelDeadline();
    if (this.#state === "waiting") void this.#open();
    else if (this.#away) this.#back();
  }

  callerLeft(reason: string, forGood: boolean): void {
    if (this.#state !== "open") return this.#leave(reason);
    if (forGood) this.line.hangUp(reason);
    else this.#cutOff(reason);
  }

  audio(bytes: Uint8Array): void {
    if (this.#state !== "open" || this.#away) return;
    this.#sequence += 1;
    this.options.counts.framesIn += 1;
    this.#watch.packet(isLoud(bytes));
    this.line.audio(this.#sequence, bytes, frameUs);
  }

  muted(on: boolean): void {
    if (this.#state === "open") this.#watch.mute(on);
  }

  dtmf(digit: string): void {
    if (this.#state === "open" && !takeDigit(this.line, digit)) this.options.counts.badSignals += 1;
  }

  signal(text: string): void {
    if (this.#state === "open" && !takeSignal(this.line, text)) this.options.counts.badSignals += 1;
  }

  away(is: boolean): void {
    if (this.#state !== "open") return;
    if (is) this.#cutOff("connection_lost");
    else this.#back();
  }

  closed(reason: string, forGood: boolean): void {
    const left = this.#room;
    this.#exit();
    void left?.leave();
    if (this.#state !== "open") return this.#leave(reason);
    if (forGood) {
      this.line.hangUp(reason);
      return this.line.finish(reason);
    }
    this.#cutOff(reason);
    void this.#rejoin();
  }

  // --- the runtime ---

  media(media: Media): void {
    this.options.counts.framesOut += 1;
    if (this.#playout?.push(media) !== true) this.options.counts.dropped += 1;
  }

  cut(fenced: (turn: number, generation: number) => boolean): number {
    return this.#playout?.cut(fenced) ?? 0;
  }

  flush(_fence: Fence, flush: Flush, cut: number): void {
    const { gate, agent } = this.line;
    if (this.#playout === null || this.#away) agent.away();
    else this.#playout.flush(flush, cut, (turn, generation) => gate.fenced(turn, generation));
  }

  control({ signal, turn, reason, fields = {} }: Egress<"control">): GateReason | undefined {
    if (signal === "output_hold") this.#playout?.hold(turn);
    if (signal === "output_resume") this.#playout?.resume();
    if (signal === "turn_open") this.#room?.agentState("thinking");
    this.#room?.tell(JSON.stringify({ type: "control", signal, turn_number: turn, reason, fields }));
    return undefined;
  }

  text({ turn, role, text, final, segment }: Egress<"text">): GateReason | undefined {
    this.#room?.transcribe({ role, segment: `${turn}.${role}.${segment}`, text, final });
    return undefined;
  }

  closing(reason: string): void {
    const endsMs = performance.now() + limits.PLAY_OUT_MS;
    const look = (): void => {
      const playout = this.#playout;
      if (this.line.isOver()) return;
      if (playout === null || this.#away || playout.idle() || performance.now() > endsMs)
        return this.line.finish(reason);
      this.#after(Math.max(5, playout.leftMs()), look);
    };
    look();
  }

  over(reason: string): void {
    this.options.desk.over(this, reason);
    this.#leave(reason);
  }

  // --- its own ---

  async #open(): Promise<void> {
    this.#state = "opening";
    const { desk, claims, token } = this.options;
    const opened = await desk.open(
      { claims, token, formats: { input: CALLER_FORMAT, output: AGENT_FORMAT } },
      () => Promise.resolve(this),
      () => {
        this.#state = "open";
        this.#room?.agentState("listening");
        this.line.connected();
        this.#tick();
      },
    );
    if (opened.ok) return;
    desk.count(opened.error.reason);
    desk.audit("refused", claims, opened.error.reason);
    this.#room?.tell(JSON.stringify({ type: "error", reason: opened.error.reason, remedy: opened.error.remedy ?? "" }));
    this.#leave(opened.error.reason);
  }

  #enter(room: AgentRoom): void {
    this.#room = room;
    const speaking = (is: boolean): void => room.agentState(is ? "speaking" : "listening");
    const { clock } = this.options;
    this.#playout = new Playout({ clock, room, agent: this.line.agent, speaking });
  }

  #exit(): void {
    this.#playout?.close();
    this.#playout = null;
    this.#room = null;
  }

  #cutOff(reason: string): void {
    if (this.#away) return;
    this.#away = true;
    this.#watch.away(true);
    this.options.desk.audit("waiting", this.line.claims, reason);
    this.line.away(reason);
    this.#expect(this.options.resumeWithinMs, "connection_lost");
  }

  #back(): void {
    if (!this.#away || this.#state !== "open") return;
    this.#away = false;
    this.#cancelDeadline();
    this.#watch.away(false);
    this.options.desk.resumed += 1;
    this.options.desk.audit("resumed", this.line.claims, "");
    this.line.connected();
  }

  /** A room that was lost, as with a server that starts again: the agent comes back, its caller with him or soon. */
  async #rejoin(): Promise<void> {
    while (this.#state === "open" && this.#room === null) {
      const room = await this.options.join(this).catch(() => null);
      // The session may have ended while the server was asked.
      if (room !== null && this.#stillOpen()) {
        this.options.counts.rejoins += 1;
        this.#enter(room);
        return;
      }
      if (room !== null) return void room.leave();
      await new Promise<void>((resolve) => this.#after(limits.REJOIN_EVERY_MS, resolve));
    }
  }

  #stillOpen(): boolean {
    return this.#state === "open";
  }

  /** Leaves unless the caller is there before. */
  #expect(ms: number, reason: string): void {
    this.#cancelDeadline();
    this.#deadline = this.#after(ms, () => {
      this.#deadline = null;
      if (this.#state === "open") this.line.giveUp(reason);
      else this.#leave(reason);
    });
  }

  #cancelDeadline(): void {
    this.#deadline?.clear();
    this.#deadline = null;
  }

  #tick(): void {
    this.#ticking = this.#after(limits.WATCH_MS, () => {
      if (this.#state !== "open") return;
      this.#watch.tick();
      this.#tick();
    });
  }

  #leave(_reason: string): void {
    if (this.#state === "over") return;
    const unopened = this.#state !== "open";
    this.#state = "over";
    this.#cancelDeadline();
    this.#ticking?.clear();
    if (unopened) this.line.caller.close();
    const room = this.#room;
    this.#exit();
    this.options.gone(this);
    void room?.leave();
  }

  #after(ms: number, then: () => void): TimerHandle {
    const { clock } = this.options;
    return clock.timerAt(monoPlusNs(clock.nowNs(), msToNs(ms)), then);
  }
}

function isLoud(bytes: Uint8Array): boolean {
  for (let at = 1; at < bytes.length; at += 2) {
    const sample = (((bytes[at] ?? 0) << 24) >> 16) | (bytes[at - 1] ?? 0);
    if (sample > LOUD || sample < -LOUD) return true;
  }
  return false;
}
