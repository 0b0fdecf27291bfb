/** Nodes of another process, in any language, over `rspp.node.v1.NodeService`: a stream for each instance (F-122, F-123). */
import { create } from "@bufbuild/protobuf";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { DescribeRequestSchema, DescribeResponseSchema, NodeService } from "@rspp/gen/rspp/node/v1/node_service_pb";
import type { Clock } from "@rspp/ports/clock";
import type { NodeHostPort, NodeInstance, NodeOpen, NodePackage, NodeSink } from "@rspp/ports/node-host";
import { rpcError } from "@rspp/rpc/errors";
import { callUnary, type GrpcChannel, openChannel, openDuplex } from "@rspp/rpc/grpc-client";
import type { ClientTls } from "@rspp/rpc/tls";
import { validate } from "@rspp/wire/validate";
import { RemoteNode } from "./node-instance.ts";
import { nodeLimits } from "./node-limits.ts";
import { packageFromWire } from "./node-messages.ts";

export interface RemoteNodesOptions {
  /** `host:port` of a service in any language. */
  readonly address: string;
  readonly clock: Clock;
  readonly tls?: ClientTls;
  /** Asked for at each call, e.g. `authorization`. */
  readonly headers?: () => Readonly<Record<string, string>>;
  /** Instances at once; one more is refused with `host_full`. Default 1024. */
  readonly instancesMax?: number;
  /** Events under way over all instances. Default 4096. */
  readonly eventsMax?: number;
  /** What one more event meets: a place in the queue, or `overload` (F-123). Default `queue`. */
  readonly whenFull?: "queue" | "reject";
  /** Events that wait at most; past it they are refused with `overload`. Default 256. */
  readonly queueMax?: number;
}

/**
 * Asks the host what it serves; its packages are what it said then, by their digest.
 *
 * @throws RpcError when it does not answer, or describes a package that the contract does not allow: the field is named.
 */
export async function createRemoteNodes(options: RemoteNodesOptions): Promise<NodeHostPort> {
  const { address, tls, headers } = options;
  const channel = openChannel({ address, ...(tls === undefined ? {} : { tls }) });
  try {
    const answer = await callUnary(channel, NodeService.method.describe, create(DescribeRequestSchema), {
      headers: headers?.() ?? {},
      deadlineMs: nodeLimits.DESCRIBE_TIMEOUT_MS,
    });
    if (!answer.ok) throw answer.error;
    const valid = validate(DescribeResponseSchema, answer.value);
    if (!valid.ok) throw refused(address, valid.error.violations[0]?.field ?? "packages", "breaks its contract");
    const packages = new Map<string, NodePackage>();
    for (const [i, given] of valid.value.packages.entries()) {
      const known = packageFromWire(given);
      if (!known.ok) throw refused(address, `packages[${i}]`, known.error);
      const name = `${known.value.name}@${known.value.version}`;
      if (packages.has(name)) throw refused(address, `packages[${i}]`, `${name} is described twice`);
      packages.set(name, known.value);
    }
    return new RemoteHost(options, channel, packages);
  } catch (failure) {
    channel.close();
    throw failure;
  }
}

function refused(address: string, field: string, message: string): Error {
  const violations = [{ field, rule: "node.describe", message }];
  const remedy = `Mend what the node host at ${address} answers to Describe, or take it out of node_hosts.`;
  return rpcError(ErrorReason.SCHEMA_VALIDATION_ERROR, { domain: "node-host", violations, remedy });
}

interface Pooled {
  readonly channel: GrpcChannel;
  streams: number;
}

class RemoteHost implements NodeHostPort {
  readonly #options: RemoteNodesOptions;
  readonly #packages: ReadonlyMap<string, NodePackage>;
  readonly #pool: Pooled[];
  readonly #running = new Set<RemoteNode>();
  readonly #waiting: (() => void)[] = [];
  #events = 0;
  #closed = false;

  constructor(options: RemoteNodesOptions, channel: GrpcChannel, packages: ReadonlyMap<string, NodePackage>) {
    this.#options = options;
    this.#packages = packages;
    this.#pool = [{ channel, streams: 0 }];
  }

  describe(packageName: string): NodePackage | null {
    return this.#packages.get(packageName) ?? null;
  }

  packages(): readonly NodePackage[] {
    return [...this.#packages.values()];
  }

  open(request: NodeOpen, sink: NodeSink): NodeInstance {
    const { instancesMax = nodeLimits.INSTANCES_MAX } = this.#options;
    if (this.#closed) return refusedInstance(sink, "host_closed");
    if (this.#running.size >= instancesMax) return refusedInstance(sink, "host_full");
    const pooled = this.#channel();
    pooled.streams += 1;
    const node: RemoteNode = new RemoteNode(
      {
        clock: this.#options.clock,
        open: (handlers, headers) =>
          openDuplex(pooled.channel, NodeService.method.run, handlers, {
            headers: { ...this.#options.headers?.(), ...headers },
          }),
        enter: (run) => this.#enter(run),
        leave: () => this.#leave(),
        ended: () => {
          pooled.streams -= 1;
          this.#running.delete(node);
        },
      },
      request,
      sink,
    );
    this.#running.add(node);
    node.start();
    return node;
  }

  close(): Promise<void> {
    this.#closed = true;
    for (const node of this.#running) node.kill("host_closed");
    this.#waiting.length = 0;
    for (const { channel } of this.#pool) channel.close();
    return Promise.resolve();
  }

  #enter(run: () => void): boolean {
    const { eventsMax = nodeLimits.EVENTS_MAX, whenFull = "queue", queueMax = nodeLimits.QUEUE_MAX } = this.#options;
    if (this.#events < eventsMax) {
      this.#events += 1;
      run();
      return true;
    }
    if (whenFull === "reject" || this.#waiting.length >= queueMax) return false;
    this.#waiting.push(run);
    return true;
  }

  #leave(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#events -= 1;
    else next();
  }

  /** A connection with room for one more stream. */
  #channel(): Pooled {
    const free = this.#pool.find(({ streams }) => streams < nodeLimits.STREAMS_PER_CONNECTION);
    if (free !== undefined) return free;
    const { address, tls } = this.#options;
    const pooled = { channel: openChannel({ address, ...(tls === undefined ? {} : { tls }) }), streams: 0 };
    this.#pool.push(pooled);
    return pooled;
  }
}

/** The sink is told after the opening has returned. */
function refusedInstance(sink: NodeSink, reason: string): NodeInstance {
  queueMicrotask(() => sink.stopped(reason));
  const nothing = (): void => undefined;
  return { event: nothing, cancel: nothing, hook: nothing, stop: nothing, kill: nothing };
}
