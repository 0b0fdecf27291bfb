/** The parts of a custom node that its package and its limits give (F-107, F-109, F-121). */
import { invariant } from "@rspp/base/invariant";
import type { CustomLimits, NodeDefinition, Settings } from "@rspp/kernel/graph";
import type { NodeCatalogue } from "./node-catalogue.ts";
import type { Sources } from "./sources.ts";
import type { NodeDocument } from "./spec.ts";

/** Where neither spec nor package says anything; an event may take two soft budgets. */
const DEFAULTS = { maxInFlight: 1, hookTimeoutMs: 500, memoryMb: 64, cpuPercent: 100 } as const;
const SOFT_BUDGETS = 2;
const KIND = "node_kind/custom";

export interface CustomPlace {
  path: string;
  specPath: string;
  nodeSoftMs: number;
}

export function compileCustom(
  node: NodeDocument,
  settings: Settings,
  nodeCatalogue: NodeCatalogue | undefined,
  place: CustomPlace,
  sources: Sources,
): Pick<NodeDefinition, "package" | "packageDigest" | "ports" | "limits" | "settings"> {
  const name = node.package ?? "";
  const found = nodeCatalogue?.(name);
  invariant(found !== null && found !== undefined, "a checked spec names packages that are here", name);
  const { path, specPath } = place;
  sources.take(`${path}.package`, `${specPath}.package`);
  sources.note(`${path}.packageDigest`, `package/${name}`);
  sources.note(`${path}.ports`, `package/${name}`);
  const all: Record<string, Settings[string]> = { ...settings };
  for (const { name: key, default: value } of found.settings ?? []) {
    if (value === undefined || all[key] !== undefined) continue;
    all[key] = value;
    sources.note(`${path}.settings.${key}`, `package/${name}`);
  }
  const given = node.limits ?? {};
  const own = found.limits ?? {};
  const pick = <T>(
    field: keyof CustomLimits,
    key: string,
    asked: T | undefined,
    packaged: T | undefined,
    last: T,
  ): T => {
    const source = packaged === undefined ? KIND : `package/${name}`;
    sources.note(
      `${path}.limits.${field}`,
      asked === undefined ? source : sources.written(`${specPath}.limits.${key}`),
    );
    return asked ?? packaged ?? last;
  };
  const timeout = SOFT_BUDGETS * place.nodeSoftMs;
  const limits: CustomLimits = {
    maxInFlight: pick("maxInFlight", "max_in_flight", given.max_in_flight, own.maxInFlight, DEFAULTS.maxInFlight),
    queueMax: pick("queueMax", "queue", given.queue, undefined, 0),
    whenFull: pick("whenFull", "when_full", given.when_full, undefined, "queue"),
    eventTimeoutMs: pick("eventTimeoutMs", "event_timeout_ms", given.event_timeout_ms, own.eventTimeoutMs, timeout),
    hookTimeoutMs: pick(
      "hookTimeoutMs",
      "hook_timeout_ms",
      given.hook_timeout_ms,
      own.hookTimeoutMs,
      DEFAULTS.hookTimeoutMs,
    ),
    memoryMb: pick("memoryMb", "memory_mb", given.memory_mb, own.memoryMb, DEFAULTS.memoryMb),
    cpuPercent: pick("cpuPercent", "cpu_percent", given.cpu_percent, own.cpuPercent, DEFAULTS.cpuPercent),
  };
  const { inputs, outputs, digest } = found;
  return { package: name, packageDigest: digest, ports: { inputs, outputs }, limits, settings: all };
}
