/** One call as its caller sees it: turns, words, what was played, latencies measured at this end. */
import type { Client } from "@rspp/client/client";
import type { Cut, OutputFrame, Played } from "@rspp/client/types";

export interface HeardTurn {
  turn: number;
  /** What the caller said, as recognised; empty where the agent spoke first. */
  user: string;
  said: string;
  /** `commit`, `abort(reason)`; empty while it is open. */
  terminal: string;
  /** `completed`, `cancelled`, `lost`, `none` (nothing to play); empty while unsettled. */
  delivery: string;
  /** Media time that was played, milliseconds. */
  played_ms: number;
  /** By name; those of the server as it tells them, `reply_ms` and `cut_ms` measured here. */
  latencies_ms: Record<string, number>;
}

export type Tell = (kind: "caller" | "agent" | "turn" | "error" | "line", words: string) => void;

/** By the canonical anchors (kernel.md §10); the rest of the metrics is for `rspp watch`. */
const turnLatencies: ReadonlySet<string> = new Set([
  "turn_open_ms",
  "first_output_ms",
  "voice_to_voice_ms",
  "cancel_fence_ms",
]);

const settling: Readonly<Record<string, string>> = {
  playback_completed: "completed",
  playback_cancelled: "cancelled",
  playback_lost: "lost",
};

export class Conversation {
  readonly turns = new Map<number, HeardTurn>();
  /** Errors the server told. */
  readonly errors: string[] = [];
  resumes = 0;
  ended: string | null = null;
  readonly #segments = new Map<number, Map<number, string>>();
  readonly #began = new Set<number>();
  readonly #nowMs: () => number;
  readonly #tell: Tell;
  #heard = "";
  #spokenMs: number | null = null;
  #speechMs: number | null = null;

  constructor(nowMs: () => number, tell: Tell) {
    this.#nowMs = nowMs;
    this.#tell = tell;
  }

  attach(client: Client): void {
    client.on("text", ({ turn, role, text, segment, final }) => {
      if (role === "user") this.#user(turn, text, final);
      else if (role === "assistant") this.#agent(turn, segment, text);
    });
    client.on("turn", ({ turn, phase, reason }) => this.#phase(turn, phase, reason));
    client.on("control", ({ turn, signal, reason }) => this.#control(turn, signal, reason));
    client.on("metrics", ({ turn, samples }) => {
      if (turn === 0) return;
      for (const { name, value } of samples) if (turnLatencies.has(name)) this.#turn(turn).latencies_ms[name] ??= value;
    });
    client.on("error", ({ reason, fields, remedy }) => {
      const words = [reason, ...fields.map(({ field, message }) => `${field}: ${message}`), remedy].join(". ");
      this.errors.push(words);
      this.#tell("error", words);
    });
    client.on("flush", (cut) => this.#flush(cut));
    client.on("state", ({ state, reason }) => {
      if (state === "reconnecting") this.#tell("line", `the connection is cut (${reason}), taking it up again`);
      if (state === "open" && reason === "resumed") {
        this.resumes += 1;
        this.#tell("line", "taken up again, in the same session");
      }
      if (state === "closed") this.ended = reason;
    });
  }

  /** The caller begins to speak. */
  speaks(): void {
    this.#speechMs = this.#nowMs();
  }

  /** The caller's last word is said. */
  spoke(): void {
    this.#spokenMs = this.#nowMs();
  }

  /** A frame of the agent's voice that is heard now. */
  hears({ turn, durationUs }: OutputFrame): void {
    if (turn === 0 || durationUs === 0 || this.#began.has(turn)) return;
    this.#began.add(turn);
    const view = this.#turn(turn);
    if (this.#spokenMs !== null && view.user !== "") view.latencies_ms.reply_ms = this.#nowMs() - this.#spokenMs;
    this.#tell("turn", `turn ${turn} plays${latencyTail(view.latencies_ms.reply_ms)}`);
  }

  played({ turn, state, playedUs }: Played): void {
    if (turn === 0) return;
    const view = this.#turn(turn);
    view.played_ms = Math.max(view.played_ms, Math.round(playedUs / 1_000));
    if (state === "completed" || state === "lost") this.#settle(view, state);
  }

  /** A turn that a caller's words opened after the first `before` turns. */
  answered(before: number): boolean {
    return this.turns.size > before;
  }

  settled(): boolean {
    return [...this.turns.values()].every(({ delivery }) => delivery !== "");
  }

  /** Milliseconds of the newest turn that were played. */
  playedOfNewest(): number {
    return [...this.turns.values()].at(-1)?.played_ms ?? 0;
  }

  #turn(turn: number): HeardTurn {
    const known = this.turns.get(turn);
    if (known !== undefined) return known;
    const made = { turn, user: "", said: "", terminal: "", delivery: "", played_ms: 0, latencies_ms: {} };
    this.turns.set(turn, made);
    return made;
  }

  #user(turn: number, text: string, final: boolean): void {
    if (turn > 0) this.#turn(turn).user = text;
    else this.#heard = text;
    if (final) this.#tell("caller", text);
  }

  #agent(turn: number, segment: number, text: string): void {
    if (turn === 0) return;
    const segments = this.#segments.get(turn) ?? new Map<number, string>();
    this.#segments.set(turn, segments);
    if (segments.get(segment) === text) return;
    segments.set(segment, text);
    const view = this.#turn(turn);
    view.said = [...segments.values()].join(" ").replace(/\s+/g, " ").trim();
    this.#tell("agent", text.trim());
  }

  #phase(turn: number, phase: string, reason: string): void {
    if (turn === 0) return;
    const view = this.#turn(turn);
    if (phase === "open") {
      if (view.user === "") view.user = this.#heard;
      this.#heard = "";
    } else if (phase === "commit") view.terminal = "commit";
    else if (phase === "abort") {
      view.terminal = `abort(${reason})`;
      this.#tell("turn", `turn ${turn} is aborted: ${reason}`);
      if (!this.#began.has(turn)) this.#settle(view, "none");
    }
  }

  #control(turn: number, signal: string, reason: string): void {
    const settled = settling[signal];
    if (settled !== undefined && turn > 0) return this.#settle(this.#turn(turn), settled);
    if (signal === "barge_in") this.#tell("turn", "the caller barges in");
    else if (/^(?:provider_error|provider_switch|budget_exhausted|reject|defer|degraded)$/.test(signal))
      this.#tell("turn", `${signal}${reason === "" ? "" : `: ${reason}`}${turn === 0 ? "" : ` (turn ${turn})`}`);
  }

  #flush({ turn, allEarlier, reason }: Cut): void {
    for (const view of this.turns.values()) {
      if (view.turn !== turn && !(allEarlier && view.turn < turn)) continue;
      if (view.delivery !== "") continue;
      if (this.#speechMs !== null && this.#began.has(view.turn))
        view.latencies_ms.cut_ms = this.#nowMs() - this.#speechMs;
      this.#settle(view, "cancelled");
      this.#tell("turn", `turn ${view.turn} is cut: ${reason || "cancelled"}`);
    }
  }

  #settle(view: HeardTurn, delivery: string): void {
    if (view.delivery === "") view.delivery = delivery;
  }
}

function latencyTail(ms: number | undefined): string {
  return ms === undefined ? "" : `, ${Math.round(ms)} ms after the last word`;
}
