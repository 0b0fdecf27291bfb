/** Which services `rspp up` starts, on which ports, and how each is told of the others. */
import { join } from "node:path";

export const upServices = [
  "registry",
  "lease",
  "provider-gateway",
  "replay",
  "runtime",
  "transport-websocket",
  "transport-telephony",
  "transport-livekit",
] as const;
export type UpService = (typeof upServices)[number];

/** Names of ports, for `--port name=number`, with their place above the base. */
export const portOffsets = {
  registry: 1,
  lease: 2,
  runtime: 3,
  "provider-gateway": 4,
  replay: 5,
  "transport-websocket": 6,
  "transport-telephony": 7,
  "transport-livekit": 8,
  links: 103,
  invocations: 104,
  websocket: 106,
  telephony: 107,
} as const;
export type PortName = keyof typeof portOffsets;

export const portBaseDefault = 7_100;

export interface UpOptions {
  readonly data: string;
  readonly host: string;
  /** 0: any free ports. */
  readonly portBase: number;
  readonly ports: ReadonlyMap<PortName, number>;
  readonly processes: boolean;
  /** Runtimes, each a process of its own; more than one with processes only. Default 1. */
  readonly runtimes?: number;
  /** Providers within the runtime, or in a service of their own. */
  readonly gateway: "library" | "service";
  /** Agents for the rooms of a LiveKit server, which the environment names (docs/livekit.md). */
  readonly livekit?: boolean;
  /** Folders of node packages, for the runtime. */
  readonly nodes?: readonly string[];
  readonly json: boolean;
  readonly logLevel: string;
  /** Calls that run when it stops may go on for so long, milliseconds. */
  readonly stopGraceMs: number;
}

export function isPortName(name: string): name is PortName {
  return Object.hasOwn(portOffsets, name);
}

export function portOf({ ports, portBase }: Pick<UpOptions, "ports" | "portBase">, name: PortName): number {
  return ports.get(name) ?? (portBase === 0 ? 0 : portBase + portOffsets[name]);
}

/** In the order they are started; those of one stage together. */
export function stagesOf({
  gateway,
  livekit = false,
}: Pick<UpOptions, "gateway" | "livekit">): readonly (readonly UpService[])[] {
  const providers: readonly UpService[] = gateway === "service" ? ["provider-gateway"] : [];
  const rooms: readonly UpService[] = livekit ? ["transport-livekit"] : [];
  const adapters = ["transport-websocket", "transport-telephony", ...rooms] as const;
  return [["registry", "lease", ...providers, "replay"], ["runtime"], adapters];
}

/** Ports of replicas are so far apart. */
const replicaPorts = 10;
export const runtimesMax = 9;

/** The `n`th of the same service, from 1: the first is where it always is, the others have a folder and ports of their own. */
export function replicaOf(service: UpService, options: UpOptions, n: number): UpOptions {
  if (n === 1) return options;
  const ports = new Map(options.ports);
  for (const name of [service, told[service].streamPort]) {
    if (name === undefined) continue;
    ports.set(name, options.portBase === 0 ? 0 : options.portBase + portOffsets[name] + replicaPorts * (n - 1));
  }
  return { ...options, ports, data: join(options.data, `${service}-${n}`) };
}

/** How many of it there are. */
export function replicasOf(service: UpService, { runtimes = 1 }: Pick<UpOptions, "runtimes">): number {
  return service === "runtime" ? runtimes : 1;
}

/**
 * In the order they are stopped: the runtime ends its calls while the adapter waits for them; then what they need goes.
 */
export const stopStages: readonly (readonly UpService[])[] = [
  ["transport-websocket", "transport-telephony", "transport-livekit", "runtime"],
  ["replay", "provider-gateway"],
  ["lease", "registry"],
];

/** Where services are reached, by their key in the configuration of others. */
export interface Addresses {
  readonly registry?: string;
  readonly lease?: string;
  readonly replay?: string;
  readonly gateway?: string;
  /** `host:port` of its invocations. */
  readonly gateway_streams?: string;
}

interface Told {
  readonly streamPort?: PortName;
  /** Where an adapter's callers come in; its address in the ready line has the same name. */
  readonly callerPort?: "websocket" | "telephony";
  readonly data?: true;
  readonly database?: true;
  readonly peers?: readonly (keyof Addresses)[];
}

const told: Readonly<Record<UpService, Told>> = {
  registry: { data: true, database: true },
  lease: { data: true, database: true },
  "provider-gateway": { streamPort: "invocations", peers: ["registry"] },
  replay: { data: true, database: true },
  runtime: { streamPort: "links", data: true, peers: ["registry", "lease", "replay", "gateway", "gateway_streams"] },
  "transport-websocket": { callerPort: "websocket", peers: ["registry", "lease"] },
  "transport-telephony": { callerPort: "telephony", peers: ["registry", "lease"] },
  // Its callers come in at the LiveKit server.
  "transport-livekit": { peers: ["registry", "lease"] },
};

export const databaseUrlName = "RSPP_UP_DATABASE_URL";

/** Environment of a service's process: all that is ours, and the database's address where it keeps something there. */
export function environmentOf(
  service: UpService,
  { [databaseUrlName]: _, ...ours }: Readonly<Record<string, string | undefined>>,
  databaseUrl: string,
): Record<string, string | undefined> {
  return told[service].database ? { ...ours, [databaseUrlName]: databaseUrl } : ours;
}

/** Flags of a service: they win over its file and environment, which say all else. */
export function flagsOf(service: UpService, options: UpOptions, addresses: Addresses): string[] {
  const { streamPort, callerPort, data, database, peers = [] } = told[service];
  const flags: [string, string | number][] = [
    ["host", options.host],
    ["port", portOf(options, service)],
    ["log-level", options.logLevel],
    ["stop-grace-ms", options.stopGraceMs],
  ];
  if (streamPort !== undefined) flags.push(["stream-port", portOf(options, streamPort)]);
  if (callerPort !== undefined) flags.push([`${callerPort}-port`, portOf(options, callerPort)]);
  if (service === "runtime" && options.nodes !== undefined) flags.push(["node-packages", options.nodes.join(",")]);
  if (data) flags.push(["data", options.data]);
  if (database) flags.push(["database-url", `env:${databaseUrlName}`]);
  for (const peer of peers) flags.push([peer.replaceAll("_", "-"), addresses[peer] ?? ""]);
  return flags.flatMap(([name, value]) => [`--${name}`, String(value)]);
}

/** On this machine; an address that stands for all of a machine's is none to dial. */
export function localUrl(url: string): string {
  return url.replace(/\/\/(?:0\.0\.0\.0|\[::\]):/, "//127.0.0.1:");
}

/** What a service that is ready adds to what others are told. */
export function addressOf(
  service: UpService,
  { url: ready, stream_port }: { readonly url: string; readonly stream_port?: number },
): Addresses {
  const url = localUrl(ready);
  switch (service) {
    case "registry":
      return { registry: url };
    case "lease":
      return { lease: url };
    case "replay":
      return { replay: url };
    case "provider-gateway":
      return { gateway: url, gateway_streams: `${URL.parse(url)?.hostname}:${stream_port ?? 0}` };
    default:
      return {};
  }
}

/** The ports a service was given, by their names. */
export function portsOf(
  service: UpService,
  ready: { readonly port: number; readonly stream_port?: number; readonly addresses: Readonly<Record<string, string>> },
): readonly (readonly [PortName, number])[] {
  const { streamPort, callerPort } = told[service];
  const { port, stream_port, addresses } = ready;
  const callers = callerPort === undefined ? 0 : Number(URL.parse(addresses[callerPort] ?? "")?.port || 0);
  return [
    [service, port],
    ...(streamPort === undefined || stream_port === undefined ? [] : [[streamPort, stream_port] as const]),
    ...(callerPort === undefined || callers === 0 ? [] : [[callerPort, callers] as const]),
  ];
}
