/**
 * One instance of a node as its host drives it: hooks in order, a cancel token per event, emissions counted, answers given
 * exactly once. The same code in the worker host and in the test harness; time limits are the host's.
 */
import { createStream, nextFloat } from "@rspp/base/random";
import type { NodeBody, NodeHook, NodeOpen, NodeSink } from "@rspp/ports/node-host";
import { type CancelToken, NodeCancelled, type NodeContext, type NodeLogic, type NodeModule } from "./node-api.ts";
import { stateHandle } from "./node-state.ts";

/** The host's time; nothing else reads a clock. */
export interface CoreClock {
  nowNs(): number;
  /** @returns what takes it back. */
  after(ms: number, act: () => void): () => void;
}

export interface CoreOptions {
  module: NodeModule;
  open: NodeOpen;
  sink: NodeSink;
  clock: CoreClock;
  /** Looks past the event loop: whether a command was cancelled while its handler did not yield. Default: no. */
  peek?: (command: number) => boolean;
}

/** The reason a cancel for want of budget carries: an answer that comes all the same still counts. */
const TIMEOUT = "node_timeout";

class Token implements CancelToken {
  reason = "";
  private set = false;
  private readonly peek: () => boolean;
  private listeners: ((reason: string) => void)[] = [];

  constructor(peek: () => boolean) {
    this.peek = peek;
  }

  get cancelled(): boolean {
    return this.set || this.peek();
  }

  check(): void {
    if (this.cancelled) throw new NodeCancelled(this.reason === "" ? "asked" : this.reason);
  }

  onCancel(listener: (reason: string) => void): void {
    if (this.set) listener(this.reason);
    else this.listeners.push(listener);
  }

  cancel(reason: string): void {
    if (this.set) return;
    this.set = true;
    this.reason = reason;
    for (const listener of this.listeners.splice(0)) listener(reason);
  }
}

interface Open {
  readonly token: Token;
  readonly startNs: number;
  index: number;
}

export class NodeCore {
  private readonly options: CoreOptions;
  private readonly open = new Map<number, Open>();
  private logic: NodeLogic | null = null;
  private over = false;

  constructor(options: CoreOptions) {
    this.options = options;
  }

  /** Runs `create`, `init` and `start`. What fails ends the instance with `init_failed`. */
  async begin(): Promise<void> {
    const { module, sink } = this.options;
    try {
      this.logic = module.create(this.context());
      await this.logic.init?.();
      await this.logic.start?.();
    } catch (error) {
      this.complain("init", error);
      return this.end("init_failed");
    }
    if (!this.over) sink.ready();
  }

  event(command: number, port: string, body: NodeBody, atNs: number): void {
    const { sink, clock, peek } = this.options;
    if (this.over || this.logic === null) return;
    const token = new Token(() => peek?.(command) === true);
    const open: Open = { token, startNs: clock.nowNs(), index: 0 };
    this.open.set(command, open);
    const done = (error: unknown): void => this.answer(command, open, error);
    try {
      const running = this.logic.onEvent({
        port,
        body,
        atNs,
        cancel: token,
        budgetLeftMs: () => this.left(open),
        emit: (to, given) => {
          if (this.over || this.open.get(command) !== open) return false;
          sink.emitted(command, open.index, to, given);
          open.index += 1;
          return true;
        },
        sleep: (ms) => this.sleep(ms, token),
      });
      if (running instanceof Promise) running.then(() => done(null), done);
      else done(null);
    } catch (error) {
      done(error);
    }
  }

  cancel(command: number, reason: string): void {
    const open = this.open.get(command);
    if (open === undefined) return;
    open.token.cancel(reason);
    this.hookOf("onCancel", () => this.logic?.onCancel?.(reason));
  }

  hook(hook: NodeHook): void {
    if (hook === "barge_in") this.hookOf("onBargeIn", () => this.logic?.onBargeIn?.());
    else this.hookOf("onBudgetExhausted", () => this.logic?.onBudgetExhausted?.());
  }

  async stop(reason: string): Promise<void> {
    if (this.over) return;
    try {
      await this.logic?.stop?.(reason);
    } catch (error) {
      this.complain("stop", error);
      return this.end("stop_failed");
    }
    this.end("stopped");
  }

  private answer(command: number, open: Open, error: unknown): void {
    if (this.open.get(command) !== open) return;
    this.open.delete(command);
    if (this.over) return;
    const { sink } = this.options;
    const { token } = open;
    if (error instanceof NodeCancelled || (token.cancelled && (error !== null || token.reason !== TIMEOUT)))
      return sink.cancelAcked(command);
    if (error === null) return sink.done(command);
    this.complain("onEvent", error);
    sink.failed(command, "threw");
  }

  private left({ startNs }: Open): number {
    const { open, clock } = this.options;
    return Math.max(0, open.limits.eventTimeoutMs - (clock.nowNs() - startNs) / 1e6);
  }

  private sleep(ms: number, token: Token): Promise<void> {
    return new Promise((resolve) => {
      const clear = this.options.clock.after(ms, resolve);
      token.onCancel(() => {
        clear();
        resolve();
      });
    });
  }

  private hookOf(name: string, call: () => void | Promise<void> | undefined): void {
    if (this.over) return;
    const failed = (error: unknown): void => this.complain(name, error);
    try {
      const running = call();
      if (running instanceof Promise) running.catch(failed);
    } catch (error) {
      failed(error);
    }
  }

  private end(reason: string): void {
    if (this.over) return;
    this.over = true;
    this.open.clear();
    this.options.sink.stopped(reason);
  }

  /** The error's name alone: a message may hold what a caller said. */
  private complain(where: string, error: unknown): void {
    const name = error instanceof Error ? error.name : typeof error;
    this.options.sink.telemetry({ kind: "log", level: "error", text: "node hook failed", fields: { where, name } });
  }

  private context(): NodeContext {
    const { module, open, sink } = this.options;
    const { tenantId, sessionId, turn, node, pipelineVersion, epoch, instanceId, settings, variables, limits } = open;
    const stream = createStream(open.seed, epoch, "node");
    return {
      ids: { tenantId, sessionId, turn, node, pipelineVersion, epoch, instanceId },
      settings,
      variables,
      limits,
      random: () => nextFloat(stream),
      state: stateHandle(module, turn === 0 ? "session" : "turn", {
        initial: open.hotState,
        changed: (key, json) => sink.hotState(key, json),
      }),
      metric: (name, value, unit = "1") => sink.telemetry({ kind: "metric", name, value, unit }),
      log: (level, text, fields = {}) => sink.telemetry({ kind: "log", level, text, fields }),
    };
  }
}
