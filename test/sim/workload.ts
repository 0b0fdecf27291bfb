import { asMonoNs, msToNs } from "@rspp/base/brand";
import { takesDigits } from "./graphs.ts";
import { sentence } from "./providers.ts";
import type { Rng } from "./rng.ts";
import type { World } from "./world.ts";

const actions = {
  speak: 34,
  barge_in: 26,
  noise: 7,
  push_to_talk: 9,
  mute: 4,
  stop: 6,
  say: 7,
  operator: 5,
  burst: 3,
  silence: 2,
  idle: 7,
} as const;
type Action = keyof typeof actions;

export const TURNS_WANTED = 20;
const actionsMax = 90;
const pollMs = 30;
const idleShortened = 6;

/** The caller, and whoever else has a say in the call: one action after the other, drawn from the seed. */
export class Workload {
  turnsOpened = 0;
  actions = 0;
  #breaks = 0;
  /** Of the session's present life. */
  readonly #turnsOpen = new Set<number>();
  readonly #world: World;
  readonly #actionsMax: number;
  readonly #rng: Rng;
  readonly #keys: Rng;
  readonly #between: (done: () => void) => void;
  readonly #finished: () => void;
  /** Silence, or the length of the call, means something to this pipeline: else frames of it are work for nothing. */
  readonly #minds: boolean;

  /** @param between what happens before each action, e.g. a fault. */
  constructor(world: World, between: (done: () => void) => void, finished: () => void) {
    this.#world = world;
    this.#actionsMax = world.options.actionsMax ?? actionsMax;
    this.#rng = world.rng.fork("workload");
    this.#keys = world.rng.fork("keys");
    this.#between = between;
    this.#finished = finished;
    const { silence, maxCallMs } = world.pipeline?.policy ?? {};
    this.#minds = silence !== undefined || maxCallMs !== undefined;
    world.trace.listen((event) => {
      if (event.kind === "life_begins") this.#turnsOpen.clear();
      if (event.kind !== "signal") return;
      const { signal, turn } = event.event;
      if (signal === "turn_open") this.turnsOpened += 1;
      if (signal === "turn_open" && event.life === this.#world.holder()?.life?.id) this.#turnsOpen.add(turn);
      if (signal === "close") this.#turnsOpen.delete(turn);
    });
  }

  next(): void {
    if (this.turnsOpened >= TURNS_WANTED || this.actions >= this.#actionsMax) return this.#finished();
    this.actions += 1;
    const keys = takesDigits(this.#world.graph) && this.#keys.chance(20);
    this.#between(() => (keys ? this.#keyIn() : this.#act(this.#rng.weighted(actions))));
  }

  after(ms: number, run: () => void): void {
    this.#world.clock.timerAt(asMonoNs(this.#world.clock.nowNs() + msToNs(ms)), run);
  }

  /** Speech, by its bytes: the detector of the run knows no more. */
  speak(ms: number): void {
    this.#world.adapter.device.speak(new Int16Array(ms * 16).fill(1_000));
  }

  /** Polls until `done`, or gives up; then goes on either way. */
  until(done: () => boolean, maxMs: number, then: () => void): void {
    if (done() || maxMs <= 0) return then();
    this.after(pollMs, () => this.until(done, maxMs - pollMs, then));
  }

  #playing(): boolean {
    return this.#world.adapter.device.deliveries().some((d) => d.phase === "playing");
  }

  #quiet(): boolean {
    return !this.#world.adapter.device.deliveries().some((d) => d.phase === "playing" || d.phase === "accepted");
  }

  /** What was still asked for is played to its end, and told. */
  quiet(then: () => void, tries = 6): void {
    const rest = (): boolean => this.#quiet() && this.#turnsOpen.size === 0;
    this.after(1_200, () =>
      this.until(rest, 6_000, () =>
        // The agent may have begun to speak by itself meanwhile.
        this.after(1_200, () => (rest() || tries <= 1 ? then() : this.quiet(then, tries - 1))),
      ),
    );
  }

  #settle(): void {
    const opened = this.turnsOpened;
    // First whatever is to come, then its end; a reply that never comes must not hold the caller up.
    this.until(
      () => this.#playing() || this.turnsOpened > opened,
      500,
      () =>
        this.until(
          () => this.#playing(),
          350,
          () =>
            this.until(
              () => this.#quiet(),
              2_500,
              () => this.after(this.#rng.int(20, 150), () => this.next()),
            ),
        ),
    );
  }

  #act(action: Action): void {
    const rng = this.#rng;
    const { device } = this.#world.adapter;
    switch (action) {
      case "speak":
        this.speak(rng.int(120, 420));
        return this.#settle();
      case "barge_in":
        return this.#bargeIn();
      case "noise":
        // Two frames of sound in speech or in silence: a candidate that is discarded.
        this.speak(40);
        return this.after(rng.int(200, 320), () => this.next());
      case "push_to_talk": {
        const ms = rng.int(100, 300);
        this.speak(ms);
        return this.after(ms + rng.int(0, 40), () => {
          device.endOfUtterance();
          this.#settle();
        });
      }
      case "mute":
        device.mute();
        this.speak(rng.int(60, 160));
        return this.after(rng.int(120, 260), () => {
          device.unmute();
          this.after(rng.int(0, 60), () => this.next());
        });
      case "stop":
        this.speak(rng.int(120, 240));
        return this.until(
          () => this.#playing(),
          900,
          () =>
            this.after(rng.int(0, 200), () => {
              device.stop();
              this.#settle();
            }),
        );
      case "say":
        this.#world.holder()?.session?.say(sentence(rng, 2, 8));
        return this.#settle();
      case "operator":
        return this.#operator();
      case "silence":
        return this.#silence();
      case "idle":
        // Nobody says a word, and the line stays open.
        return this.after(rng.int(4_000, 40_000) / (this.#minds ? 1 : idleShortened), () => this.next());
      case "burst":
        for (let n = rng.int(2, 6); n > 0; n--) this.#world.holder()?.session?.say(sentence(rng, 1, 4));
        return this.#settle();
    }
  }

  /** Digits, with or without their terminator, now and then into a reply that plays. */
  #keyIn(): void {
    const keys = this.#keys;
    const { device } = this.#world.adapter;
    device.dtmf(keys.pick(["1", "42", "7#", "#", "123456"]));
    if (keys.chance(40)) return this.after(keys.int(0, 300), () => this.next());
    this.#settle();
  }

  /** While the turn is still Active or when it is closed and plays: the draw of the wait decides. */
  #bargeIn(): void {
    const rng = this.#rng;
    this.speak(rng.int(120, 300));
    this.until(
      () => this.#playing(),
      1_000,
      () =>
        this.after(rng.chance(50) ? rng.int(0, 60) : rng.int(100, 700), () => {
          this.speak(rng.int(100, 300));
          this.#settle();
        }),
    );
  }

  /** The line breaks while the agent speaks, and the caller says nothing: what is lost must settle by itself. */
  #silence(): void {
    const rng = this.#rng;
    this.speak(rng.int(120, 240));
    this.until(
      () => this.#playing(),
      900,
      () => {
        const link = this.#world.holder()?.link;
        this.#breaks += 1;
        if (rng.chance(60) && link?.up() && this.#world.may(`w${this.#breaks}`, "pair_loss")) {
          this.#world.fault("pair_loss");
          link.lose();
        }
        this.after(rng.int(6_000, 7_500), () => this.next());
      },
    );
  }

  #operator(): void {
    const rng = this.#rng;
    this.speak(rng.int(120, 240));
    this.until(
      () => this.#playing(),
      900,
      () =>
        this.after(rng.int(0, 120), () => {
          const { turnSeen } = this.#world.adapter;
          const session = this.#world.holder()?.session;
          if (rng.chance(50)) session?.operator("cancel_session");
          else session?.operator("cancel_turn", { turn: rng.chance(80) ? turnSeen : Math.max(1, turnSeen - 3) });
          this.#settle();
        }),
    );
  }
}
