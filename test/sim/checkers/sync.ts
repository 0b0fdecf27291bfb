import type { GraphDefinition } from "@rspp/kernel/graph";
import type { TraceEvent } from "../trace.ts";
import { BaseChecker } from "./checker.ts";

interface Seen {
  /** Frames given to the detector lately: which, and whether it began anew right before. */
  given: { ref: number; anew: boolean }[];
  anew: boolean;
  /** Lost in the step in which they came. */
  lost: Set<number>;
  /** By frame: notices of the detector's edge before the recogniser was given it. */
  recognised: Map<number, number>;
  notices: number;
  /** The newest lost frame behind which none has been given yet. */
  gapRef: number;
  lastUs: number;
}

const givenMax = 256;

/**
 * Streams that belong together (F-146; F5): a detector that is given what stands behind a gap of its edge begins anew; under
 * `atomic_drop` over the plan what one edge lost does not come out of the other; each gap is told by a `discontinuity`. An
 * edge that samples gives on one of so many (F-143).
 */
export class SyncChecker extends BaseChecker {
  readonly name = "sync";
  readonly #detector: string;
  readonly #atomic: boolean;
  readonly #synced: boolean;
  readonly #every: number;
  readonly #lives = new Map<string, Seen>();
  readonly #told = new Map<string, number>();

  constructor({ edges, nodes }: GraphDefinition) {
    super();
    const detector = edges.find(({ to }) => nodes.find(({ id }) => id === to.node)?.kind === "vad");
    const sync = detector?.buffer.sync;
    this.#detector = detector?.id ?? "";
    this.#synced = sync !== undefined;
    this.#atomic = sync?.policy === "atomic_drop" && sync.scope === "plan_wide";
    this.#every = detector?.buffer.strategy === "sample" ? (detector.buffer.sampleEvery ?? 1) : 1;
  }

  see(event: TraceEvent): void {
    if (event.kind === "signal") {
      const { signal, fields } = event.event;
      if (signal === "drop_notice" && fields.edge === this.#detector) this.#of(event.life).notices += 1;
      if (signal === "discontinuity") {
        this.#told.set(event.life, (this.#told.get(event.life) ?? 0) + 1);
        if (fields.syncDomain !== "mic" || fields.discontinuityId === undefined)
          this.fail(`${event.life}: a discontinuity that does not say where`);
      }
      return;
    }
    if (this.#every > 1 || this.#synced) this.#audio(event);
  }

  #audio(event: TraceEvent): void {
    switch (event.kind) {
      case "detector_reset":
        this.#of(event.life).anew = true;
        return;
      case "frame_recognised":
        if (!this.#atomic) return;
        this.#of(event.life).recognised.set(event.ref, this.#of(event.life).notices);
        if (this.#of(event.life).lost.has(event.ref)) this.#kept(event.life, event.ref);
        return;
      case "edge_lost":
        return this.#lost(event.life, this.#of(event.life), event);
      case "frame":
        return this.#frame(this.#of(event.life), event);
      default:
        return;
    }
  }

  #of(life: string): Seen {
    const known = this.#lives.get(life);
    if (known !== undefined) return known;
    const made: Seen = {
      given: [],
      anew: false,
      lost: new Set(),
      recognised: new Map(),
      notices: 0,
      gapRef: -1,
      lastUs: -1,
    };
    this.#lives.set(life, made);
    return made;
  }

  /** The first frame behind the gap may have been given in this very step. */
  #lost(life: string, seen: Seen, { refs, fresh }: Extract<TraceEvent, { kind: "edge_lost" }>): void {
    if ((this.#told.get(life) ?? 0) === 0) this.fail(`${life}: audio was lost, and no discontinuity was told`);
    for (const ref of fresh) {
      seen.lost.add(ref);
      // What it had taken before the loss, it has.
      if (this.#atomic && seen.recognised.get(ref) === seen.notices) this.#kept(life, ref);
    }
    const newest = refs.at(-1) ?? -1;
    const behind = seen.given.find(({ ref }) => ref > newest);
    if (behind === undefined) seen.gapRef = Math.max(seen.gapRef, newest);
    else if (!behind.anew) this.#notAnew(life, behind.ref);
  }

  #kept(life: string, ref: number): void {
    this.fail(`${life}: the recogniser was given frame ${ref}, which its group had lost`);
  }

  #notAnew(life: string, ref: number): void {
    this.fail(`${life}: the detector was given frame ${ref} behind a gap, and did not begin anew`);
  }

  #frame(seen: Seen, { life, ref, mediaUs, durationUs }: Extract<TraceEvent, { kind: "frame" }>): void {
    const apartUs = mediaUs - seen.lastUs;
    if (this.#every > 1 && seen.lastUs >= 0 && apartUs < this.#every * durationUs - 1_000)
      this.fail(`${life}: frames ${Math.round(apartUs / 1_000)} ms apart, one of ${this.#every} is kept`);
    seen.lastUs = mediaUs;
    if (seen.gapRef >= 0 && ref > seen.gapRef) {
      if (!seen.anew) this.#notAnew(life, ref);
      seen.gapRef = -1;
    }
    seen.given.push({ ref, anew: seen.anew });
    if (seen.given.length > givenMax) seen.given.shift();
    seen.anew = false;
  }
}
