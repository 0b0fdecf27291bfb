/** Several hosts of foreign nodes as one: a package is run by the host that has it (F-011, F-122, F-124). */
import type { NodeHostPort, NodePackage } from "@rspp/ports/node-host";

/** @throws Error when two hosts have a package under one `name@version`: which one ran would not be pinned. */
export function createNodeHosts(hosts: readonly NodeHostPort[]): NodeHostPort {
  const packages = hosts.flatMap((host) => host.packages());
  const byName = new Map<string, NodeHostPort>();
  for (const host of hosts) {
    for (const known of host.packages()) {
      const name = packageName(known);
      if (byName.has(name)) throw new Error(`node package ${name} is given by two hosts: remove one of them`);
      byName.set(name, host);
    }
  }
  return {
    describe: (name) => byName.get(name)?.describe(name) ?? null,
    packages: () => packages,
    prepare: (name, limits) => byName.get(name)?.prepare?.(name, limits),
    open(request, sink) {
      const host = byName.get(request.package);
      if (host !== undefined) return host.open(request, sink);
      queueMicrotask(() => sink.stopped("unknown_package"));
      return goneInstance;
    },
    close: async () => {
      await Promise.all(hosts.map((host) => host.close()));
    },
  };
}

export function packageName({ name, version }: Pick<NodePackage, "name" | "version">): string {
  return `${name}@${version}`;
}

const nothing = (): void => undefined;
const goneInstance = { event: nothing, cancel: nothing, hook: nothing, stop: nothing, kill: nothing };
