import type { TraceEvent } from "../trace.ts";
import { BaseChecker, type RunEnd } from "./checker.ts";

const rank: Readonly<Record<string, number>> = {
  output_accepted: 1,
  playback_started: 2,
  playback_completed: 3,
  playback_cancelled: 3,
  playback_lost: 3,
};

/** none -> accepted -> playing -> completed | cancelled | lost, per turn; and nothing plays that was not sent (`kernel.md` §2). */
export class DeliveryChecker extends BaseChecker {
  readonly name = "delivery";
  readonly #phase = new Map<string, number>();
  readonly #sentUs = new Map<string, number>();
  readonly #settled = new Set<string>();
  readonly #closed = new Set<string>();

  see(event: TraceEvent): void {
    if (event.kind === "egress" && event.message.kind === "media") {
      const { turn, generation, offsetUs, durationUs } = event.message;
      const key = `${turn}.${generation}`;
      this.#sentUs.set(key, Math.max(this.#sentUs.get(key) ?? 0, offsetUs + durationUs));
    } else if (event.kind === "played") {
      const sent = this.#sentUs.get(`${event.turn}.${event.generation}`) ?? -1;
      if (event.toUs > sent + 100)
        this.fail(`played ${event.turn}.${event.generation} to ${event.toUs} us of ${sent} sent`);
    } else if (event.kind === "record" && event.appended && event.record.kind === "delivery_addendum") {
      const key = `${event.life}#${event.record.turn}`;
      if (this.#settled.has(key)) this.fail(`${key}: two delivery addenda`);
      this.#settled.add(key);
    } else if (event.kind === "signal") this.#signal(event.life, event.event);
  }

  override end(run: RunEnd): void {
    // A session that was ended or killed settles nothing more.
    const over = new Set(run.lives.filter((life) => life.crashed || life.over).map((life) => life.id));
    for (const key of this.#closed) {
      if (!this.#settled.has(key) && !over.has(key.slice(0, key.lastIndexOf("#"))))
        this.fail(`${key}: delivery never settled`);
    }
  }

  #signal(life: string, event: Extract<TraceEvent, { kind: "signal" }>["event"]): void {
    const key = `${life}#${event.turn}`;
    if (event.signal === "close") this.#closed.add(key);
    const next = rank[event.signal];
    if (next === undefined) return;
    // The arbiter's own word at T13 comes before the adapter's.
    if (event.emitter === "egress" && event.signal === "playback_cancelled") return;
    const before = this.#phase.get(key) ?? 0;
    if (next <= before) this.fail(`${key}: ${event.signal} after delivery phase ${before}`);
    this.#phase.set(key, next);
  }
}
