/** The hosts of foreign nodes that a process is configured with. */
import { createSystemClock } from "@rspp/host/system-clock";
import type { NodeHostPort } from "@rspp/ports/node-host";
import { RpcError } from "@rspp/rpc/errors";
import type { NodeCatalogue } from "@rspp/spec/node-catalogue";
import { createNodeHosts } from "./node-hosts.ts";

const GRPC = "grpc://";

/**
 * @param places folders of node packages, and `grpc://host:port` of services that run nodes (F-122); none opens nothing.
 * @throws Error that names the place and the remedy.
 */
export async function openNodeHosts(places: readonly string[]): Promise<NodeHostPort | null> {
  if (places.length === 0) return null;
  const dirs = places.filter((place) => !place.startsWith(GRPC));
  const opened: NodeHostPort[] = [];
  try {
    if (dirs.length > 0) {
      const { createWorkerHost } = await import("./worker-host.ts");
      opened.push(await createWorkerHost({ dirs }));
    }
    for (const place of places) if (place.startsWith(GRPC)) opened.push(await remote(place));
    return createNodeHosts(opened);
  } catch (failure) {
    await Promise.all(opened.map((host) => host.close()));
    throw failure;
  }
}

async function remote(place: string): Promise<NodeHostPort> {
  const address = place.slice(GRPC.length);
  if (!/^[^/\s]+:\d{1,5}$/.test(address)) throw new Error(`${place}: write a node host as grpc://host:port`);
  const { createRemoteNodes } = await import("@rspp/remote/node-host");
  try {
    return await createRemoteNodes({ address, clock: createSystemClock() });
  } catch (failure) {
    if (!(failure instanceof RpcError)) throw failure;
    const [first] = failure.detail.violations;
    const why = first === undefined ? "does not answer" : `${first.field}: ${first.message}`;
    throw new Error(`${place}: ${why}; start the node host, mend it, or take it out of the list`);
  }
}

/** What specs are checked and compiled against. */
export function catalogueOf(nodes: NodeHostPort | null): { nodes?: NodeCatalogue } {
  return nodes === null ? {} : { nodes: (name) => nodes.describe(name) };
}

/** Places in one text, with a comma between. */
export function foldersOf(text: string): string[] {
  return text
    .split(",")
    .map((place) => place.trim())
    .filter((place) => place !== "");
}
