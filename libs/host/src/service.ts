/**
 * A service as its `main.ts` and `rspp up` see it: what it is configured by, and what it gives to be served. The same
 * definition runs in a process of its own and beside the others in one.
 */

import type { PlatformTokens } from "@rspp/rpc/access-tokens";
import type { RpcConnection } from "@rspp/rpc/clients";
import type { GrpcService } from "@rspp/rpc/grpc-server";
import type { Log } from "@rspp/rpc/log";
import type { RpcRoute } from "@rspp/rpc/route";
import type { RpcServerOptions } from "@rspp/rpc/server";
import type { ClientTls, ServerTls } from "@rspp/rpc/tls";
import type { Database } from "@rspp/store/database";
import type { Telemetry } from "@rspp/telemetry/telemetry";
import type { ConfigFields, ConfigValues } from "./config-fields.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

/** Services that others call. */
export type PeerService = "registry" | "lease" | "provider-gateway" | "replay";

/** What a link or an invocation to another service is opened with. */
export interface StreamAccess {
  readonly tls?: ClientTls;
  /** Of each call, asked for each time: the service token, where there is one. */
  headers(): Readonly<Record<string, string>>;
}

/** What a service is given besides its configuration. */
export interface ServiceContext {
  readonly service: string;
  /** Unique among the processes of a fleet, e.g. `runtime-3f9a…`; from `instance_id`, else made. */
  readonly instanceId: string;
  readonly build: string;
  readonly log: Log;
  readonly env: Environment;
  readonly telemetry: Telemetry;
  /** Says whether something this service cannot do without is there; the service is ready when all of it is. */
  dependency(name: string, there: boolean): void;
  /** A peer by its base URL, with this process's TLS and token; directly, without a socket, where it runs in this process. */
  connect(peer: PeerService, baseUrl: string): RpcConnection;
  /** The same without this process's token: each call shows that of the person it is made for, in its `authorization`. */
  connectForOthers(peer: PeerService, baseUrl: string): RpcConnection;
  /** Certificate of this process's servers, for one that a service opens by itself. */
  readonly tls?: ServerTls;
  /** The same TLS and token for streams. */
  readonly streams: StreamAccess;
}

/** Where a service listens. */
export interface Bound {
  readonly host: string;
  readonly port: number;
}

/** A service that runs, to be served. */
export interface StartedService {
  /** On the API port, beside health, reflection, `/livez`, `/readyz` and `/metrics`. */
  readonly routes: readonly RpcRoute[];
  readonly http?: NonNullable<RpcServerOptions["http"]>;
  /** Keys and revocations of the platform's tokens, where the service has a better source than the host. */
  readonly tokens?: PlatformTokens;
  /** On the stream port: links and invocations. A service without has no stream port. */
  readonly streams?: readonly GrpcService[];
  /** Called once when all ports are open, before the service is ready. Gives addresses for the ready line, by name. */
  bound?(api: Bound, streams: Bound | null): Promise<Readonly<Record<string, string>>>;
  /** What it will want later, loaded once it is ready: each in a turn of the event loop of its own. */
  readonly loadLater?: readonly (() => Promise<unknown>)[];
  /** Housekeeping, now and then; with a database it also shows whether that answers. */
  sweep?(): Promise<unknown>;
  /** Takes nothing new and lets what runs finish, within `graceMs`. True when nothing had to be cut off. */
  drain?(graceMs: number): Promise<boolean>;
  /** After the servers have stopped. */
  close?(): Promise<void>;
}

interface Definition<F extends ConfigFields> {
  readonly service: string;
  readonly fields: F;
}

/** A service without a database of its own. */
export interface PlainService<F extends ConfigFields> extends Definition<F> {
  readonly database: false;
  start(values: ConfigValues<F>, context: ServiceContext): Promise<StartedService>;
}

export interface DatabaseService<F extends ConfigFields> extends Definition<F> {
  readonly database: true;
  start(values: ConfigValues<F>, context: ServiceContext, db: Database): Promise<StartedService>;
}

export type ServiceDefinition<F extends ConfigFields> = PlainService<F> | DatabaseService<F>;
