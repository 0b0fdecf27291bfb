/** The hook for traces; OpenTelemetry is put behind it where a process is wired. */

export interface RpcCall {
  readonly side: "server" | "client";
  /** Full name, e.g. `rspp.registry.v1.RegistryService`. */
  readonly service: string;
  readonly method: string;
  /** Of the request: read for the parent at a server, written with this span at a client. */
  readonly headers: Headers;
}

export interface RpcSpan {
  /** Runs `work` inside the span, so that what it starts are its children. */
  run<T>(work: () => T): T;
  /** Facts by attribute name; never payload, never a secret. */
  set(name: string, value: string | number | boolean): void;
  /** `reason` by the catalogue's name when it failed. Exactly once. */
  end(reason: string | null): void;
}

export interface RpcTracer {
  start(call: RpcCall): RpcSpan;
}

const noSpan: RpcSpan = { run: (work) => work(), set: () => undefined, end: () => undefined };
export const noTracer: RpcTracer = { start: () => noSpan };
