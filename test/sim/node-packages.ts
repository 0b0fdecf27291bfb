/** The foreign nodes of the simulator: what they declare, as their packages would (F-011, F-121). */
import type { NodePackage } from "@rspp/ports/node-host";

const rest = { version: "1.0.0", host: "worker", cancel: "cooperative", purity: "pure" } as const;

const packages: readonly NodePackage[] = [
  {
    ...rest,
    name: "reader",
    scope: "turn",
    inputs: [{ name: "text", type: "text" }],
    outputs: [{ name: "text", type: "text" }],
    digest: "a".repeat(64),
  },
  {
    ...rest,
    name: "gain",
    scope: "either",
    inputs: [{ name: "audio", type: "audio" }],
    outputs: [{ name: "audio", type: "audio" }],
    digest: "b".repeat(64),
  },
];

export function nodeCatalogue(name: string): NodePackage | null {
  return packages.find((one) => `${one.name}@${one.version}` === name) ?? null;
}

export function nodePackages(): readonly NodePackage[] {
  return packages;
}
