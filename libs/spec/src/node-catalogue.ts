/** The node packages at hand where a spec is checked and compiled (F-011, F-121); what a host of nodes describes fits. */
import type { PortDefinition } from "@rspp/kernel/graph";

export interface CataloguedSetting {
  name: string;
  type: "text" | "number" | "flag" | "texts";
  required?: true;
  default?: string | number | boolean | readonly string[];
  min?: number;
  max?: number;
  oneOf?: readonly string[];
}

export interface CataloguedPackage {
  scope: "session" | "turn" | "either";
  inputs: readonly PortDefinition[];
  outputs: readonly PortDefinition[];
  /** SHA-256 of its code: part of what executes. */
  digest: string;
  settings?: readonly CataloguedSetting[];
  limits?: {
    maxInFlight?: number;
    eventTimeoutMs?: number;
    hookTimeoutMs?: number;
    memoryMb?: number;
    cpuPercent?: number;
  };
}

/** The package of a `name@version`; null for one that is not here. */
export type NodeCatalogue = (packageName: string) => CataloguedPackage | null;

export interface SpecOptions {
  /** Absent: ports and settings of custom nodes are not checked, and a spec that has any does not compile. */
  nodes?: NodeCatalogue;
}
