/**
 * The outside world of a random run: providers, voice activity and adapter as far as the kernel's effects tell of them,
 * with every payload's life watched. Simulated throughout; for tests.
 */
import type { Effect } from "../effect.ts";
import type { InputBody } from "../input.ts";
import type { SessionConfig } from "../session-config.ts";
import { KernelHarness } from "./harness.ts";

export interface WorldInvocation {
  id: number;
  modality: "stt" | "llm" | "tts" | "tool";
  turn: number;
  chunks: number;
  revision: number;
  finished: boolean;
  cancelled: boolean;
  /** TTS: clauses not yet spoken. */
  clauses: { segment: number; chars: number; words: { from: number; to: number; startUs: number; endUs: number }[] }[];
  asked: boolean;
}

export interface WorldTurn {
  sentUs: number;
  ended: boolean;
  fenced: boolean;
  acked: boolean;
  /** How far a well-behaved adapter has come with its reports. */
  reported: number;
}

/** Seeded numbers for tests: mulberry32. */
export function randomOf(seed: number): { next(): number; int(max: number): number; chance(p: number): boolean } {
  let a = seed >>> 0;
  const next = (): number => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
  return { next, int: (max) => Math.floor(next() * max), chance: (p) => next() < p };
}

const NEEDS_AUTHORITY: readonly string[] = [
  "egress_media",
  "egress_text",
  "node_event",
  "node_input",
  "provider_open",
  "provider_push_audio",
  "provider_push_text",
  "provider_push_messages",
  "provider_finish",
  "state_write",
];

export class World extends KernelHarness {
  readonly invocations = new Map<number, WorldInvocation>();
  readonly turns = new Map<number, WorldTurn>();
  /** Invocation -> turn its payloads are tagged with. */
  private readonly tags = new Map<number, number>();
  /** Unanswered VAD commands. */
  commands: { command: number; mediaUs: number; durationUs: number }[] = [];
  /** Live payloads with the turn they are tagged with; caller audio is not watched. */
  readonly live = new Map<number, number>();
  readonly freed = new Set<number>();
  readonly problems: string[] = [];

  constructor(config: SessionConfig) {
    super(config);
    const answer = this.fns.answer;
    this.fns.answer = (question) => {
      const result = answer(question);
      if (question.fn === "cut") this.live.set(question.ref, 0);
      return result;
    };
  }

  override text(spans: readonly { ref: number; from: number; to: number }[]): string {
    for (const span of spans) this.use(span.ref, "text");
    return super.text(spans);
  }

  private use(ref: number, by: string): void {
    if (this.freed.has(ref)) this.problems.push(`${by} uses payload ${ref} after its release`);
  }

  /** A text payload of the session, e.g. for `say`. */
  sessionText(text: string): { ref: number; from: number; to: number }[] {
    const ref = this.ref(text);
    this.live.set(ref, 0);
    return [{ ref, from: 0, to: text.length }];
  }

  override feed(...bodies: InputBody[]): Effect[] {
    for (const body of bodies) {
      if (body.type !== "provider_chunk") continue;
      this.live.set(body.chunk.payload.ref, this.tags.get(body.invocation) ?? 0);
    }
    const effects = super.feed(...bodies);
    for (const effect of effects) this.watch(effect);
    if (this.state.authority.held !== "held") this.watchPowerless(effects);
    return effects;
  }

  /** Authority is looked at before anything else in a step: lost at its end, it was lost before any effect (§7). */
  private watchPowerless(effects: readonly Effect[]): void {
    const found = effects.find((effect) => NEEDS_AUTHORITY.includes(effect.type));
    if (found !== undefined) this.problems.push(`${found.type} without authority`);
  }

  private callerBelow = 0;

  private useCaller(ref: number, what: string): void {
    if (ref < this.callerBelow)
      this.problems.push(`${what} asks for caller audio ${ref}, released below ${this.callerBelow}`);
  }

  private free(ref: number): void {
    if (!this.live.delete(ref)) return;
    this.freed.add(ref);
  }

  private watch(effect: Effect): void {
    this.watchProvider(effect);
    this.watchOutput(effect);
  }

  private watchProvider(effect: Effect): void {
    switch (effect.type) {
      case "provider_open":
        this.tags.set(effect.invocation, effect.turn);
        this.invocations.set(effect.invocation, {
          id: effect.invocation,
          modality: effect.modality,
          turn: effect.turn,
          chunks: 0,
          revision: -1,
          finished: false,
          cancelled: false,
          clauses: [],
          asked: false,
        });
        return;
      case "provider_push_audio":
        return this.useCaller(effect.payload.ref, "provider_push_audio");
      case "provider_push_text": {
        const text = this.text(effect.spans);
        const words = [...text.matchAll(/\S+/g)].map((m) => ({
          from: m.index,
          to: m.index + m[0].length,
          startUs: m.index * 5_000,
          endUs: (m.index + m[0].length) * 5_000,
        }));
        this.invocations.get(effect.invocation)?.clauses.push({ segment: effect.segment, chars: text.length, words });
        return;
      }
      case "provider_push_messages": {
        for (const message of effect.messages) this.text(message.spans);
        const inv = this.invocations.get(effect.invocation);
        if (inv !== undefined) inv.asked = true;
        return;
      }
      case "provider_finish": {
        const inv = this.invocations.get(effect.invocation);
        if (inv !== undefined) inv.finished = true;
        return;
      }
      case "provider_cancel": {
        const inv = this.invocations.get(effect.invocation);
        if (inv !== undefined) inv.cancelled = true;
        return;
      }
      default:
        return;
    }
  }

  private watchOutput(effect: Effect): void {
    switch (effect.type) {
      case "node_event":
        this.useCaller(effect.payload.ref, "node_event");
        this.commands.push(effect);
        return;
      case "egress_text":
        this.text(effect.spans);
        return;
      case "egress_media": {
        const turn = this.turnOf(effect.turn);
        if (turn.fenced) this.problems.push(`egress_media of fenced turn ${effect.turn}`);
        if (effect.end) turn.ended = true;
        turn.sentUs += effect.durationUs;
        if (effect.payload !== null) {
          this.use(effect.payload.ref, "egress_media");
          this.free(effect.payload.ref);
        }
        return;
      }
      case "egress_fence":
        this.turnOf(effect.turn).fenced = true;
        return;
      case "release":
        for (const ref of effect.refs) this.free(ref);
        return;
      case "release_input":
        if (effect.below < this.callerBelow) this.problems.push(`release_input falls to ${effect.below}`);
        this.callerBelow = effect.below;
        return;
      case "release_turn":
        for (const [ref, turn] of [...this.live])
          if (turn === effect.turn && !effect.keep.includes(ref)) this.free(ref);
        return;
      default:
        return;
    }
  }

  turnOf(number: number): WorldTurn {
    let turn = this.turns.get(number);
    if (turn === undefined) {
      turn = { sentUs: 0, ended: false, fenced: false, acked: false, reported: 0 };
      this.turns.set(number, turn);
    }
    return turn;
  }

  /** Payload numbers the state still speaks of. */
  reachable(): Set<number> {
    const found = new Set<number>();
    const walk = (value: unknown): void => {
      if (Array.isArray(value)) for (const item of value) walk(item);
      else if (value !== null && typeof value === "object") {
        for (const [key, item] of Object.entries(value)) {
          if (key === "ref" && typeof item === "number") found.add(item);
          else if (key === "ownRefs" && Array.isArray(item)) for (const ref of item) found.add(ref as number);
          else walk(item);
        }
      }
    };
    walk(this.state);
    return found;
  }
}
