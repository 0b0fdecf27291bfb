import { hostname } from "node:os";
import type { Bound } from "./service.ts";

/** `host:port` by which others reach a port; an address that stands for all of a machine's is no address to dial. */
export function dialAddress({ host, port }: Bound): string {
  const dialled = host === "0.0.0.0" || host === "::" ? hostname() : host;
  return `${dialled.includes(":") ? `[${dialled}]` : dialled}:${port}`;
}
