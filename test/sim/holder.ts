import type { MonoNs } from "@rspp/base/brand";
import type { TimerHandle } from "@rspp/ports/clock";
import { createHolder, holderMayAct, holderNextDeadline, holderStep } from "@rspp/protocol/lease-holder";
import type {
  FloorAnswer,
  Granted,
  HolderInput,
  HolderOutput,
  HolderState,
  MayAct,
  SignedGrant,
} from "@rspp/protocol/lease-types";
import type { LeaseProcess } from "./lease-process.ts";
import type { SimProcess } from "./process.ts";

/** Takes a request to another process and its answer back, late or never. */
export type Rpc = <T>(to: SimProcess, ask: () => T, answer: (value: T) => void) => void;

const acquireAgainMs = 400;
const acquireTries = 4;

export interface HolderHost {
  /** Sends a floor to a receiver. */
  announce(receiver: string, signed: SignedGrant, answer: (answer: FloorAnswer) => void): void;
  acquired(epoch: number, rotated: boolean): void;
  renewed(deadlineNs: MonoNs): void;
  fenced(reason: string): void;
  ready(receiver: string): void;
}

/** The shipped holder of one session's lease in one life of a runtime process, with its timer and its calls. */
export class Holder {
  readonly state: HolderState;
  readonly #proc: SimProcess;
  readonly #lease: LeaseProcess;
  readonly #rpc: Rpc;
  readonly #host: HolderHost;
  #timer: TimerHandle | null = null;
  #timerNs = -1;
  #abandoned = false;

  constructor(name: string, session: string, proc: SimProcess, lease: LeaseProcess, rpc: Rpc, host: HolderHost) {
    this.state = createHolder(name, session);
    this.#proc = proc;
    this.#lease = lease;
    this.#rpc = rpc;
    this.#host = host;
  }

  mayAct(receiver: string): MayAct {
    return holderMayAct(this.state, receiver, this.#proc.clock.nowNs());
  }

  /** Given up: asks for nothing more. */
  abandon(): void {
    this.#abandoned = true;
  }

  acquire(tries = acquireTries): void {
    this.#proc.after(acquireAgainMs, () => {
      if (this.state.phase === "none" && !this.#abandoned && tries > 1) this.acquire(tries - 1);
    });
    const requestedAtNs = this.#proc.clock.nowNs();
    const { session, holder } = this.state;
    this.#rpc(
      this.#lease.proc,
      () => this.#lease.acquire(session, holder),
      (answer) => answer.ok && this.#granted(answer.value, requestedAtNs),
    );
  }

  rotate(lastSequence: number): void {
    const requestedAtNs = this.#proc.clock.nowNs();
    const { session, holder, epoch } = this.state;
    this.#rpc(
      this.#lease.proc,
      () => this.#lease.rotate(session, holder, epoch, lastSequence),
      (answer) => answer.ok && this.#granted(answer.value, requestedAtNs),
    );
  }

  step(input: HolderInput): void {
    for (const output of holderStep(this.state, input, this.#proc.clock.nowNs())) this.#take(output);
    this.#arm();
  }

  #granted(granted: Granted, requestedAtNs: MonoNs): void {
    const { signed, oldRunsOutInMs } = granted;
    this.step({ kind: "granted", signed, requestedAtNs, oldRunsOutInMs });
  }

  #take(output: HolderOutput): void {
    switch (output.kind) {
      case "announce":
        return this.#host.announce(output.receiver, output.signed, (answer) => {
          if (answer.ok) this.step({ kind: "floor_acked", receiver: output.receiver, epoch: answer.epoch });
          else this.step({ kind: "stale", receiver: output.receiver, floor: answer.floor });
        });
      case "renew": {
        const requestedAtNs = this.#proc.clock.nowNs();
        const { session, epoch } = output;
        const { holder } = this.state;
        return this.#rpc(
          this.#lease.proc,
          () => this.#lease.renew(session, holder, epoch),
          (answer) => {
            if (!answer.ok) return this.step({ kind: "renew_refused", epoch, reason: answer.error });
            const { termMs, signed } = answer.value;
            // Rotated since, and the answer was lost: the renewal brings the grant.
            if (answer.value.epoch > epoch) this.#granted({ signed, oldRunsOutInMs: 0 }, requestedAtNs);
            else this.step({ kind: "renewed", epoch, termMs, requestedAtNs });
            this.#host.renewed(this.state.deadlineNs);
          },
        );
      }
      case "reacquire": {
        const requestedAtNs = this.#proc.clock.nowNs();
        const { session, holder } = this.state;
        return this.#rpc(
          this.#lease.proc,
          () => this.#lease.reissue(session, holder),
          (answer) => answer.ok && this.#granted(answer.value, requestedAtNs),
        );
      }
      case "acquired":
        return this.#host.acquired(output.epoch, output.rotated);
      case "fenced":
        return this.#host.fenced(output.reason);
      case "receiver_ready":
        return this.#host.ready(output.receiver);
      default:
        return;
    }
  }

  #arm(): void {
    const next = holderNextDeadline(this.state);
    if (next === null || (this.#timer !== null && this.#timerNs <= next)) return;
    this.#timer?.clear();
    this.#timerNs = next;
    this.#timer = this.#proc.clock.timerAt(next, () => {
      this.#timer = null;
      this.step({ kind: "tick" });
    });
  }
}
