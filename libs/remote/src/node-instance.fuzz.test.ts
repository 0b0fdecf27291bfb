/** What an external node may answer, as bytes; FUZZ_RUNS sets how many lives of an instance are tried (NF-013). */
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { asMonoNs, asWallMs } from "@rspp/base/brand";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { type RunResponse, RunResponseSchema } from "@rspp/gen/rspp/node/v1/node_service_pb";
import type { Clock } from "@rspp/ports/clock";
import type { NodeBody, NodeSink } from "@rspp/ports/node-host";
import type { DuplexHandlers } from "@rspp/rpc/duplex";
import { type RpcError, rpcError } from "@rspp/rpc/errors";
import fc from "fast-check";
import { expect, test } from "vitest";
import { RemoteNode } from "./node-instance.ts";
import { nodeLimits } from "./node-limits.ts";

const RUNS = Number(process.env.FUZZ_RUNS ?? 2_000);

type Said = NonNullable<MessageInitShape<typeof RunResponseSchema>["message"]>;

const bytesOf = (message: Said): Uint8Array => toBinary(RunResponseSchema, create(RunResponseSchema, { message }));
const text = { text: "good morning", segment: 1, revision: 1, final: true, confidence: 0.5, language: "en" };
const emission = (command: bigint, index: number): Uint8Array =>
  bytesOf({ case: "emission", value: { command, index, port: "text", body: { body: { case: "text", value: text } } } });

/** Good ones, of which the bad are made. */
const good: readonly Uint8Array[] = [
  ...[1n, 2n, 3n, 9n].flatMap((command) => [
    emission(command, 0),
    emission(command, 1),
    bytesOf({ case: "done", value: { command } }),
    bytesOf({ case: "failed", value: { command, reason: "threw" } }),
    bytesOf({ case: "cancelAcked", value: { command } }),
  ]),
  bytesOf({ case: "ready", value: {} }),
  bytesOf({ case: "hotState", value: { key: "k", json: "[1]" } }),
  bytesOf({ case: "metric", value: { name: "words", value: 3 } }),
  bytesOf({ case: "stopped", value: { reason: "stopped" } }),
];

function mutate(bytes: Uint8Array, edits: readonly (readonly [number, number, number])[]): Uint8Array {
  let out = Array.from(bytes);
  for (const [kind, at, value] of edits) {
    const i = at % (out.length + 1);
    if (kind === 0) out[i % Math.max(1, out.length)] = value;
    else if (kind === 1) out.splice(i, 0, value);
    else if (kind === 2) out.splice(i, 1);
    else out = out.slice(0, i);
  }
  return Uint8Array.from(out);
}

const edit = fc.tuple(fc.nat({ max: 3 }), fc.nat({ max: 200 }), fc.nat({ max: 255 }));
const reply = fc.oneof(
  { arbitrary: fc.constantFrom(...good), weight: 4 },
  {
    arbitrary: fc
      .tuple(fc.constantFrom(...good), fc.array(edit, { minLength: 1, maxLength: 3 }))
      .map(([bytes, edits]) => mutate(bytes, edits)),
    weight: 3,
  },
  fc.uint8Array({ maxLength: 40 }),
);
const act = fc.oneof(
  { arbitrary: reply.map((bytes) => ({ do: "say" as const, bytes })), weight: 12 },
  fc.constantFrom(
    ...(["event", "cancel", "hook", "stop", "kill", "end", "close", "pass"] as const).map((name) => ({ do: name })),
  ),
);

/** Timers that fire when they are told to. */
class Timers implements Clock {
  #now = 0;
  #timers: { at: number; fire: () => void }[] = [];
  nowNs = () => asMonoNs(this.#now);
  wallMs = () => asWallMs(0);
  hold = () => () => undefined;
  timerAt(at: number, fire: () => void) {
    const timer = { at, fire };
    this.#timers.push(timer);
    return {
      clear: () => {
        this.#timers = this.#timers.filter((other) => other !== timer);
      },
    };
  }
  pass(ms: number): void {
    this.#now += ms * 1e6;
    const due = this.#timers.filter(({ at }) => at <= this.#now);
    this.#timers = this.#timers.filter(({ at }) => at > this.#now);
    for (const { fire } of due) fire();
  }
  get pending(): number {
    return this.#timers.length;
  }
}

const body: NodeBody = { type: "text", ...text };

class Life {
  readonly clock = new Timers();
  readonly lines: string[] = [];
  readonly node: RemoteNode;
  entered = 0;
  ended = 0;
  command = 0;
  #handlers: DuplexHandlers<RunResponse> | null = null;
  #closed = false;

  constructor() {
    const say = (line: string) => void this.lines.push(line);
    const sink: NodeSink = {
      ready: () => say("ready"),
      emitted: (command, index) => say(`emitted ${command}.${index}`),
      done: (command) => say(`answered ${command}`),
      failed: (command) => say(`answered ${command}`),
      cancelAcked: () => say("acked"),
      telemetry: () => say("told"),
      hotState: () => say("kept"),
      stopped: () => say("stopped"),
    };
    const limits = { maxInFlight: 1, eventTimeoutMs: 1_000, hookTimeoutMs: 2_000, memoryMb: 64, cpuPercent: 100 };
    const ids = { tenantId: "t", sessionId: "s", pipelineVersion: "p@1", epoch: 1, turn: 1, seed: "s", hotState: {} };
    const request = { instanceId: "i", package: "p@1.0.0", node: "n", settings: {}, variables: {}, limits, ...ids };
    this.node = new RemoteNode(
      {
        clock: this.clock,
        open: (handlers) => {
          this.#handlers = handlers;
          return {
            write: (_, written) => written?.(),
            end: () => undefined,
            fail: (error) => this.close(error),
            closed: false,
          };
        },
        enter: (run) => {
          if (this.entered >= 3) return false;
          this.entered += 1;
          run();
          return true;
        },
        leave: () => void this.entered--,
        ended: () => void this.ended++,
      },
      request,
      sink,
    );
    this.node.start();
  }

  /** As the stream does it: bytes that are no message end it. */
  say(bytes: Uint8Array): void {
    if (this.#closed) return;
    let message: RunResponse;
    try {
      message = fromBinary(RunResponseSchema, bytes);
    } catch {
      return this.close(rpcError(ErrorReason.SCHEMA_VALIDATION_ERROR, { domain: "t" }));
    }
    this.#handlers?.onMessage(message);
  }

  end(): void {
    if (!this.#closed) this.#handlers?.onEnd?.();
  }

  close(error: RpcError | null): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#handlers?.onClosed?.(error);
  }
}

test("NF-013 F-122 whatever bytes a node answers with, in any order: no throw, one last word, each event answered once, every place given back", () => {
  fc.assert(
    fc.property(fc.array(act, { maxLength: 30 }), (acts) => {
      const life = new Life();
      for (const one of acts) {
        if (one.do === "say") life.say(one.bytes);
        else if (one.do === "event") life.node.event(++life.command, "text", body, 0);
        else if (one.do === "cancel") life.node.cancel(life.command, "barge_in");
        else if (one.do === "hook") life.node.hook("barge_in");
        else if (one.do === "stop") life.node.stop("turn_closed");
        else if (one.do === "kill") life.node.kill("over");
        else if (one.do === "end") life.end();
        else if (one.do === "close") life.close(null);
        else life.clock.pass(700);
      }
      life.node.kill("over");
      life.close(null);
      const { lines } = life;
      expect(lines.filter((line) => line === "stopped")).toEqual(["stopped"]);
      expect(lines.at(-1)).toBe("stopped");
      const answered = lines.filter((line) => line.startsWith("answered"));
      expect(new Set(answered).size).toBe(answered.length);
      for (let command = 1; command <= life.command; command++) {
        const emitted = lines.filter((line) => line.startsWith(`emitted ${command}.`));
        expect(emitted).toEqual(emitted.map((_, index) => `emitted ${command}.${index}`));
        expect(emitted.length).toBeLessThanOrEqual(nodeLimits.EMISSIONS_PER_COMMAND_MAX);
      }
      expect([life.entered, life.ended, life.clock.pending]).toEqual([0, 1, 0]);
    }),
    { numRuns: RUNS },
  );
});
