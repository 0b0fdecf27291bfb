/**
 * A node service in a process of its own: `echo` says each event again, or fails as its setting `mode` asks: `loop` (the whole
 * process), `throw`, `leak`, `hang`. Says `{"port"}`, then, for each line it reads, the CPU time it has used.
 */
import { createInterface } from "node:readline";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { NodeScope } from "@rspp/gen/rspp/node/v1/node_pb";
import {
  DescribeResponseSchema,
  NodeService,
  type RunRequest,
  type RunResponse,
  RunResponseSchema,
} from "@rspp/gen/rspp/node/v1/node_service_pb";
import { PortType } from "@rspp/gen/rspp/pipeline/v1/pipeline_pb";
import type { Duplex } from "@rspp/rpc/duplex";
import { bidiMethod, type GrpcServer, startGrpcServer, unaryMethod } from "@rspp/rpc/grpc-server";

export interface NodeServiceFigures {
  readonly cpuUs: number;
}

type Answer = NonNullable<MessageInitShape<typeof RunResponseSchema>["message"]>;

const ports = [
  { name: "text", type: PortType.TEXT },
  { name: "audio", type: PortType.AUDIO },
];
const described = create(DescribeResponseSchema, {
  packages: [{ name: "echo", version: "1.0.0", scope: NodeScope.TURN, inputs: ports, outputs: ports, build: "1" }],
});

export function serveNodes(): Promise<GrpcServer> {
  const describe = unaryMethod(NodeService.method.describe, () => described);
  const run = bidiMethod(NodeService.method.run, (duplex) => {
    const instance = new Instance(duplex);
    return {
      onMessage: (message) => instance.receive(message),
      onEnd: () => duplex.end(),
      onClosed: () => undefined,
    };
  });
  return startGrpcServer({
    domain: "node-host",
    port: 0,
    services: [{ service: NodeService, methods: { describe, run } }],
  });
}

class Instance {
  readonly #duplex: Duplex<RunResponse>;
  #mode = "echo";

  constructor(duplex: Duplex<RunResponse>) {
    this.#duplex = duplex;
  }

  receive({ message }: RunRequest): void {
    if (message.case === "open") {
      this.#mode = modeOf(message.value.settings);
      this.#say({ case: "ready", value: {} });
    } else if (message.case === "event") {
      const { command, body, port } = message.value;
      if (body?.body.case === "end") this.#say({ case: "done", value: { command } });
      else this.#event(command, port, body);
    } else if (message.case === "stop") {
      this.#say({ case: "stopped", value: { reason: "stopped" } });
      this.#duplex.end();
    }
  }

  #event(
    command: bigint,
    port: string,
    body: Extract<RunRequest["message"], { case: "event" }>["value"]["body"],
  ): void {
    const emit = (index: number): void =>
      this.#say({ case: "emission", value: { command, index, port, ...(body === undefined ? {} : { body }) } });
    switch (this.#mode) {
      case "loop":
        for (;;);
      case "throw":
        throw new Error("faulty");
      case "leak":
        for (let index = 0; index < 200_000; index++) emit(index);
        return;
      case "hang":
        return;
      default:
        emit(0);
        this.#say({ case: "done", value: { command } });
    }
  }

  #say(message: Answer): void {
    this.#duplex.write(create(RunResponseSchema, { message }));
  }
}

function modeOf(settings: unknown): string {
  return /"(loop|throw|leak|hang)"/.exec(JSON.stringify(settings))?.[1] ?? "echo";
}

if (import.meta.main) {
  const { port } = await serveNodes();
  process.stdout.write(`${JSON.stringify({ port })}\n`);
  for await (const _line of createInterface({ input: process.stdin })) {
    const { user, system } = process.cpuUsage();
    process.stdout.write(`${JSON.stringify({ cpuUs: user + system } satisfies NodeServiceFigures)}\n`);
  }
  process.exit(0);
}
