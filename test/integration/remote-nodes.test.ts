import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { AudioCodec } from "@rspp/gen/rspp/event/v1/audio_pb";
import { type NodePackageSchema, NodeScope } from "@rspp/gen/rspp/node/v1/node_pb";
import {
  DescribeResponseSchema,
  NodeService,
  type RunRequest,
  type RunResponse,
  RunResponseSchema,
} from "@rspp/gen/rspp/node/v1/node_service_pb";
import { PortType } from "@rspp/gen/rspp/pipeline/v1/pipeline_pb";
import { createSystemClock } from "@rspp/host/system-clock";
import type { NodeBody, NodeHostPort, NodeInstance, NodeOpen, NodeSink } from "@rspp/ports/node-host";
import { createRemoteNodes, type RemoteNodesOptions } from "@rspp/remote/node-host";
import type { Duplex } from "@rspp/rpc/duplex";
import { RpcError } from "@rspp/rpc/errors";
import { bidiMethod, startGrpcServer, unaryMethod } from "@rspp/rpc/grpc-server";
import fc from "fast-check";
import { describe, expect, onTestFinished, test, vi } from "vitest";

type PackageInit = MessageInitShape<typeof NodePackageSchema>;
type ResponseInit = NonNullable<MessageInitShape<typeof RunResponseSchema>["message"]>;
type Script = (message: RunRequest, say: (message: ResponseInit) => void, duplex: Duplex<RunResponse>) => void;

const text = (name: string) => ({ name, type: PortType.TEXT });
const upper: PackageInit = {
  name: "upper",
  version: "1.0.0",
  scope: NodeScope.TURN,
  inputs: [text("text")],
  outputs: [text("text")],
  build: "a",
};

/** A node host in this process, on a real socket. */
async function serve(
  script: Script,
  packages: readonly PackageInit[] = [upper],
  more: Partial<RemoteNodesOptions> = {},
) {
  const served = await startGrpcServer({
    domain: "node-host",
    port: 0,
    services: [
      {
        service: NodeService,
        methods: {
          describe: unaryMethod(NodeService.method.describe, () =>
            create(DescribeResponseSchema, { packages: [...packages] }),
          ),
          run: bidiMethod(NodeService.method.run, (duplex) => {
            const say = (message: ResponseInit) => duplex.write(create(RunResponseSchema, { message }));
            return {
              onMessage: (message) => script(message, say, duplex),
              onEnd: () => duplex.end(),
              onClosed: () => undefined,
            };
          }),
        },
      },
    ],
  });
  onTestFinished(async () => {
    await served.stop(200);
  });
  const host = await createRemoteNodes({ address: `127.0.0.1:${served.port}`, clock: createSystemClock(), ...more });
  onTestFinished(() => host.close());
  return { host, served };
}

/** Capital letters, one emission a text; `slow` is answered when it is cancelled alone. */
const capitals: Script = ({ message }, say, duplex) => {
  if (message.case === "open") say({ case: "ready", value: {} });
  if (message.case === "cancel") say({ case: "cancelAcked", value: { command: message.value.command } });
  if (message.case === "stop") {
    say({ case: "stopped", value: { reason: "stopped" } });
    duplex.end();
  }
  if (message.case !== "event") return;
  const { command, body } = message.value;
  const given = body?.body;
  if (given?.case === "text" && given.value.text === "slow") return;
  if (given?.case === "text")
    say({
      case: "emission",
      value: {
        command,
        index: 0,
        port: "text",
        body: { body: { case: "text", value: { ...given.value, text: given.value.text.toUpperCase() } } },
      },
    });
  say({ case: "done", value: { command } });
};

const request: NodeOpen = {
  instanceId: "local/s-1/1/1",
  package: "upper@1.0.0",
  node: "shout",
  settings: { loud: true, words: ["a", "b"] },
  variables: { name: "Ada" },
  tenantId: "local",
  sessionId: "s-1",
  pipelineVersion: "p@1",
  epoch: 1,
  turn: 1,
  seed: "seed",
  limits: { maxInFlight: 1, eventTimeoutMs: 1_000, hookTimeoutMs: 2_000, memoryMb: 64, cpuPercent: 100 },
  hotState: {},
};

const say = (said: string): NodeBody => ({
  ...{ type: "text", text: said, segment: 0, revision: 1, final: true, confidence: 1, language: "en" },
});

interface Heard {
  readonly lines: string[];
  readonly bodies: NodeBody[];
  readonly node: NodeInstance;
}

function open(host: NodeHostPort, over: Partial<NodeOpen> = {}): Heard {
  const lines: string[] = [];
  const bodies: NodeBody[] = [];
  const sink: NodeSink = {
    ready: () => lines.push("ready"),
    emitted: (command, index, port, body) => {
      bodies.push(body);
      lines.push(`${command}.${index} ${port} ${body.type === "text" ? body.text : body.type}`);
    },
    done: (command) => lines.push(`done ${command}`),
    failed: (command, reason) => lines.push(`failed ${command} ${reason}`),
    cancelAcked: (command) => lines.push(`acked ${command}`),
    telemetry: (told) => lines.push(`told ${told.kind}`),
    hotState: (key, json) => lines.push(`state ${key}=${json}`),
    stopped: (reason) => lines.push(`stopped ${reason}`),
  };
  return { lines, bodies, node: host.open({ ...request, ...over }, sink) };
}

const until = (heard: Heard, line: string) =>
  vi.waitFor(() => expect(heard.lines).toContain(line), { timeout: 5_000, interval: 5 });

describe("F-122 nodes in another process, over their contract", () => {
  test("described, opened, asked, answered, cancelled and stopped in order; audio comes back byte for byte", async () => {
    const { host } = await serve((message, answer, duplex) => {
      if (message.message.case === "event" && message.message.value.body?.body.case === "audio") {
        const { command, body } = message.message.value;
        answer({ case: "emission", value: { command, index: 0, port: "out", body } });
        answer({ case: "hotState", value: { key: "seen", json: "1" } });
        answer({ case: "metric", value: { name: "level_db", value: -3 } });
        return answer({ case: "done", value: { command } });
      }
      return capitals(message, answer, duplex);
    });
    expect(host.describe("upper@1.0.0")).toMatchObject({
      host: "grpc",
      scope: "turn",
      inputs: [{ name: "text", type: "text" }],
      digest: expect.stringMatching(/^[0-9a-f]{64}$/),
    });
    expect(host.describe("upper@2.0.0")).toBeNull();
    const heard = open(host);
    await until(heard, "ready");
    heard.node.event(1, "text", say("good day"), 0);
    await until(heard, "done 1");
    const bytes = Uint8Array.from({ length: 640 }, (_, i) => i % 251);
    const audio = {
      type: "audio",
      bytes,
      codec: "pcm_s16le",
      rateHz: 16_000,
      channels: 1,
      mediaUs: 40_000,
      durationUs: 20_000,
    } as const;
    heard.node.event(2, "audio", audio, 0);
    await until(heard, "done 2");
    expect(heard.bodies[1]).toEqual(audio);
    heard.node.event(3, "text", say("slow"), 0);
    heard.node.cancel(3, "barge_in");
    await until(heard, "acked 3");
    heard.node.stop("session_end");
    await until(heard, "stopped stopped");
    expect(heard.lines).toEqual([
      "ready",
      "1.0 text GOOD DAY",
      "done 1",
      "2.0 out audio",
      "state seen=1",
      "told metric",
      "done 2",
      "acked 3",
      "stopped stopped",
    ]);
  });

  test("the digest is another when the build is, so that a plan pins the code", async () => {
    const one = (await serve(capitals)).host.describe("upper@1.0.0")?.digest;
    const other = (await serve(capitals, [{ ...upper, build: "b" }])).host.describe("upper@1.0.0")?.digest;
    const same = (await serve(capitals)).host.describe("upper@1.0.0")?.digest;
    expect(same).toBe(one);
    expect(other).not.toBe(one);
  });

  test.each([
    ["twice", [upper, upper], "packages[1]"],
    ["a port of no type that travels", [{ ...upper, inputs: [{ name: "x", type: PortType.CONTROL }] }], "packages[0]"],
    ["a name that is none", [{ ...upper, name: "UPPER" }], "packages[0].name"],
  ])("a host that describes %s is refused, with the field", async (_, packages, field) => {
    const failure = await serve(capitals, packages).then(
      () => null,
      (thrown: unknown) => thrown,
    );
    expect(failure).toBeInstanceOf(RpcError);
    expect((failure as RpcError).detail.violations[0]?.field).toBe(field);
  });

  test("a host that is not there is an error at once, not a hang", async () => {
    const nobody = createRemoteNodes({ address: "127.0.0.1:1", clock: createSystemClock() });
    await expect(nobody).rejects.toMatchObject({ reason: expect.anything() });
  });
});

describe("F-123 external nodes are held to bounds of their own", () => {
  test.each([
    ["queue", ["done 1", "done 2", "done 3"], ["failed 4 overload"]],
    ["reject", ["done 1"], ["failed 2 overload", "failed 3 overload", "failed 4 overload"]],
  ] as const)("one event under way at the host, two more wait: %s", async (whenFull, done, failed) => {
    const held: bigint[] = [];
    let reached = 0;
    let most = 0;
    let answer: (message: ResponseInit) => void = () => undefined;
    const { host } = await serve(
      ({ message }, toCaller) => {
        answer = toCaller;
        if (message.case === "open") toCaller({ case: "ready", value: {} });
        if (message.case !== "event") return;
        held.push(message.value.command);
        reached += 1;
        most = Math.max(most, held.length);
      },
      [upper],
      { eventsMax: 1, queueMax: 2, whenFull },
    );
    const heard = open(host);
    await until(heard, "ready");
    for (let command = 1; command <= 4; command++) heard.node.event(command, "text", say("x"), 0);
    expect(heard.lines.filter((line) => line.startsWith("failed"))).toEqual(failed);
    for (let n = 1; n <= done.length; n++) {
      await vi.waitFor(() => expect(reached).toBe(n), { interval: 5 });
      answer({ case: "done", value: { command: held.shift() ?? 0n } });
      await until(heard, `done ${n}`);
    }
    expect(heard.lines.filter((line) => line.startsWith("done"))).toEqual(done);
    expect(most).toBe(1);
  });

  test("past its instances it is full; a place is free again once one is gone", async () => {
    const { host } = await serve(capitals, [upper], { instancesMax: 1 });
    const first = open(host);
    await until(first, "ready");
    const second = open(host);
    await until(second, "stopped host_full");
    first.node.stop("done");
    await until(first, "stopped stopped");
    await vi.waitFor(async () => {
      const third = open(host);
      await until(third, "ready");
    });
  });
});

describe("F-134 whatever a node host does, its instance has one last word and no neighbour hears it", () => {
  const ready: Script = ({ message }, answer) => {
    if (message.case === "open") answer({ case: "ready", value: {} });
  };
  const emission = (over: object): ResponseInit => ({
    case: "emission",
    value: { command: 1n, index: 0, port: "text", body: { body: { case: "text", value: { text: "x" } } }, ...over },
  });
  const bare = { body: { case: "end", value: {} } } as const;
  const wrong = { body: { case: "text", value: { text: "x", confidence: 7 } } } as const;
  const loud = {
    format: { codec: AudioCodec.PCM_S16LE, sampleRateHz: 16_000, channels: 1 },
    data: new Uint8Array(262_144),
  };

  test.each([
    ["emits with a gap", [emission({ index: 1 })], "protocol_broken"],
    ["emits the end of a stream", [emission({ body: bare })], "protocol_broken"],
    ["emits what the contract does not allow", [emission({ body: wrong })], "protocol_broken"],
    ["emits nothing at all", [emission({ body: undefined })], "protocol_broken"],
    ["says ready twice", [{ case: "ready", value: {} }], "protocol_broken"],
    [
      "emits without end",
      Array.from({ length: 40 }, (_, index) => emission({ index, body: { body: { case: "audio", value: loud } } })),
      "emits_too_much",
    ],
    ["says that it stopped", [{ case: "stopped", value: { reason: "out_of_paper" } }], "out_of_paper"],
  ] as const)("%s", async (_, answers, reason) => {
    const { host } = await serve((message, answer, duplex) => {
      ready(message, answer, duplex);
      if (message.message.case === "event") for (const one of answers) answer(one as ResponseInit);
    });
    const heard = open(host);
    await until(heard, "ready");
    heard.node.event(1, "text", say("x"), 0);
    await until(heard, `stopped ${reason}`);
    heard.node.event(2, "text", say("x"), 0);
    heard.node.kill("again");
    expect(heard.lines.filter((line) => line.startsWith("stopped")).length).toBe(1);
  });

  test("answers for commands nobody asked are nothing; never ready and never stopped are given up in time", async () => {
    const { host } = await serve(({ message }, answer) => {
      if (message.case !== "event") return;
      answer({ case: "done", value: { command: 9n } });
      answer({ case: "cancelAcked", value: { command: 8n } });
      answer(emission({ command: 7n }));
      answer({ case: "done", value: { command: message.value.command } });
    });
    const quick = { ...request.limits, hookTimeoutMs: 150 };
    const heard = open(host, { limits: quick });
    heard.node.event(1, "text", say("x"), 0);
    await until(heard, "done 1");
    await until(heard, "stopped open_timeout");
    expect(heard.lines).toEqual(["done 1", "stopped open_timeout"]);
    const { host: deaf } = await serve(ready);
    const other = open(deaf, { limits: quick });
    await until(other, "ready");
    other.node.stop("done");
    await until(other, "stopped stop_timeout");
  });

  test("a host that dies ends its instances with a reason, and what they were asked with them", async () => {
    const { host, served } = await serve(ready);
    const heard = open(host);
    await until(heard, "ready");
    heard.node.event(1, "text", say("x"), 0);
    await served.stop(0);
    await vi.waitFor(() => expect(heard.lines.at(-1)).toMatch(/^stopped (ended|crashed|unreachable|overload)$/), {
      timeout: 5_000,
    });
  });

  test("NF-013 fuzzed replies: bounded, never a throw, at most one last word", async () => {
    let replies: readonly ResponseInit[] = [];
    const { host } = await serve((message, answer, duplex) => {
      ready(message, answer, duplex);
      if (message.message.case === "event") for (const one of replies) answer(one);
    });
    const command = fc.bigInt({ min: 0n, max: 3n });
    const body = fc.oneof(
      fc.record({
        case: fc.constant("text" as const),
        value: fc.record({ text: fc.string(), confidence: fc.float() }),
      }),
      fc.record({
        case: fc.constant("activity" as const),
        value: fc.record({ probability: fc.float(), mediaUs: fc.bigInt({ min: -1n, max: 1n << 60n }) }),
      }),
      fc.record({ case: fc.constant("metric" as const), value: fc.record({ name: fc.string(), value: fc.double() }) }),
      fc.record({ case: fc.constant("end" as const), value: fc.constant({}) }),
      fc.record({
        case: fc.constant("messages" as const),
        value: fc.record({ messages: fc.array(fc.record({ role: fc.nat(9), text: fc.string() })) }),
      }),
    );
    const reply = fc.oneof(
      fc.record({
        case: fc.constant("emission" as const),
        value: fc.record({ command, index: fc.nat(2), port: fc.string({ maxLength: 70 }), body: fc.record({ body }) }),
      }),
      fc.record({ case: fc.constant("done" as const), value: fc.record({ command }) }),
      fc.record({ case: fc.constant("failed" as const), value: fc.record({ command, reason: fc.string() }) }),
      fc.record({ case: fc.constant("cancelAcked" as const), value: fc.record({ command }) }),
      fc.record({ case: fc.constant("ready" as const), value: fc.constant({}) }),
      fc.record({ case: fc.constant("hotState" as const), value: fc.record({ key: fc.string(), json: fc.string() }) }),
      fc.record({ case: fc.constant("stopped" as const), value: fc.record({ reason: fc.string() }) }),
    );
    const encodes = (one: ResponseInit) => {
      try {
        toBinary(RunResponseSchema, create(RunResponseSchema, { message: one }));
        return true;
      } catch {
        return false;
      }
    };
    await fc.assert(
      fc.asyncProperty(fc.array(reply, { maxLength: 12 }), async (given) => {
        replies = [...given, { case: "done", value: { command: 1n } } as const].filter((one) =>
          encodes(one as ResponseInit),
        ) as ResponseInit[];
        const heard = open(host);
        await until(heard, "ready");
        heard.node.event(1, "text", say("x"), 0);
        await vi.waitFor(() => expect(heard.lines.length).toBeGreaterThan(1), { interval: 2 });
        heard.node.kill("over");
        const last = heard.lines.filter((line) => line.startsWith("stopped"));
        expect(last.length).toBe(1);
        expect(heard.lines.filter((line) => line === "done 1").length).toBeLessThanOrEqual(1);
      }),
      { numRuns: 60 },
    );
  });
});
