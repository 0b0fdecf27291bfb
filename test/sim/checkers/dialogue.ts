import { HANG_UP_MS_MAX } from "@rspp/kernel/limits";
import type { SessionPolicy } from "@rspp/kernel/session-config";
import type { TraceEvent } from "../trace.ts";
import { BaseChecker } from "./checker.ts";

const slackNs = 500_000_000;

interface Life {
  connectedNs: number;
  /** When somebody was last heard or something of a turn happened. */
  stirredNs: number;
  /** When the line was last told to be away. */
  awayNs: number;
  prompts: number;
  warned: boolean;
  speaking: boolean;
}

function isKey(event: TraceEvent): boolean {
  return event.kind === "ingress" && event.message.kind === "control" && event.message.signal === "dtmf";
}

/**
 * Silence and the longest call: no prompt before it was quiet for as long as the policy says, nor more of them than it
 * allows, counted anew once the caller is heard, whether or not his words are understood, or presses a key; a call ends for silence only after the last prompt, for its length not before and not long after it.
 */
export class DialogueChecker extends BaseChecker {
  readonly name = "dialogue";
  readonly #policy: Partial<SessionPolicy>;
  readonly #lives = new Map<string, Life>();
  readonly #stood = new Set<string>();

  constructor(policy: Partial<SessionPolicy>) {
    super();
    this.#policy = policy;
  }

  see(event: TraceEvent, atNs: number): void {
    if (event.kind === "process" && !event.up) this.#stood.add(event.proc);
    if (event.kind === "life_begins" && event.session === "session-1")
      this.#lives.set(event.life, {
        connectedNs: 0,
        stirredNs: atNs,
        awayNs: -1,
        prompts: 0,
        warned: false,
        speaking: false,
      });
    const life = "life" in event ? this.#lives.get(event.life) : undefined;
    if (life === undefined) return;
    if (event.kind === "heard" || isKey(event)) life.prompts = 0;
    if (event.kind === "life_ends") return this.#ended(event, life, atNs);
    if (event.kind === "signal") return this.#signal(event.life, life, event.event, atNs);
    if (event.kind !== "ingress" || event.message.kind !== "control") return;
    const { signal } = event.message;
    if (signal === "reconnecting") life.awayNs = atNs;
    else if (signal !== "connected") life.stirredNs = atNs;
  }

  #signal(
    id: string,
    life: Life,
    { signal, reason, emitter }: Extract<TraceEvent, { kind: "signal" }>["event"],
    atNs: number,
  ): void {
    if (signal === "connected" && life.connectedNs === 0) life.connectedNs = atNs;
    if (signal === "turn_open_proposed" && reason === "silence") return this.#prompt(id, life, atNs);
    if (signal === "turn_open_proposed" && reason === "max_duration") return this.#warning(id, life, atNs);
    if (signal === "turn_open_proposed" && emitter === "prelude") life.prompts = 0;
    if (["turn_open", "close", "barge_in", "end_of_utterance"].includes(signal)) life.stirredNs = atNs;
    // A batch is one scheduling point (`kernel.md` §1): a line that was lost and restored within it was never awaited, and
    // the caller has been silent all along.
    if (signal === "connected" && life.awayNs !== atNs) life.stirredNs = atNs;
    if (/^(playback_|output_)/.test(signal)) life.stirredNs = atNs;
  }

  #prompt(id: string, life: Life, atNs: number): void {
    const { silence } = this.#policy;
    if (silence === undefined) return this.fail(`${id}: a prompt on silence, which nobody asked for`);
    life.prompts += 1;
    // Its last words before it hangs up are for the silence, too.
    const most = silence.maxPrompts + (silence.andThen === "hang_up" && this.#policy.hangUp !== undefined ? 1 : 0);
    if (life.prompts > most) this.fail(`${id}: prompt ${life.prompts} of ${most} on silence`);
    if (life.prompts > silence.maxPrompts) return;
    const quietMs = (atNs - life.stirredNs) / 1e6;
    if (quietMs < silence.afterMs * 0.99) this.fail(`${id}: a prompt after ${Math.round(quietMs)} ms of silence`);
    life.stirredNs = atNs;
  }

  #warning(id: string, life: Life, atNs: number): void {
    const { maxCallMs = 0, maxCallWarningMs = 0 } = this.#policy;
    if (life.warned || maxCallWarningMs === 0) return;
    life.warned = true;
    const ms = (atNs - life.connectedNs) / 1e6;
    if (ms < (maxCallMs - maxCallWarningMs) * 0.99)
      this.fail(`${id}: warned of the call's end after ${Math.round(ms)} ms`);
  }

  #ended({ life: id, reason, how }: Extract<TraceEvent, { kind: "life_ends" }>, life: Life, atNs: number): void {
    this.#lives.delete(id);
    const { maxCallMs, silence } = this.#policy;
    if (life.connectedNs === 0 || how !== "ended") return;
    const ms = (atNs - life.connectedNs) / 1e6;
    if (reason === "max_duration" && (maxCallMs === undefined || ms < maxCallMs * 0.99))
      this.fail(`${id}: ended for its length after ${Math.round(ms)} ms`);
    if (reason === "silence" && silence?.andThen !== "hang_up") this.fail(`${id}: ended for silence, which it may not`);
    if (reason === "silence" && life.prompts < (silence?.maxPrompts ?? 0))
      this.fail(`${id}: ended for silence after ${life.prompts} prompts`);
    const lateMs = ms - (maxCallMs ?? Number.POSITIVE_INFINITY) * 1.01 - HANG_UP_MS_MAX - slackNs / 1e6;
    const stood = this.#stood.has(id.slice(0, id.indexOf(".")));
    if (lateMs > 0 && !stood) this.fail(`${id}: went on ${Math.round(lateMs)} ms past its longest call`);
  }
}
