/** What both sides of `rspp.provider.v1.ProviderService` are given, and what they give. */
import type { Clock } from "@rspp/ports/clock";
import type { InvocationOpen, Modality, ProviderPort } from "@rspp/ports/provider";
import type { ClientTls } from "@rspp/rpc/tls";

export interface RemoteProvidersOptions {
  /** `host:port` of the gateway's stream port. */
  readonly address: string;
  readonly tls?: ClientTls;
  /** Text headers of every call, e.g. `authorization`; asked for each time. */
  readonly headers?: () => Readonly<Record<string, string>>;
  readonly clock: Clock;
  /** What the contract wants besides what the port says. Default tenant `default`, node = the provider, attempt 1. */
  readonly origin?: (request: InvocationOpen) => InvocationOrigin;
  /** Told when the gateway starts or stops answering; for readiness. */
  readonly onReachable?: (there: boolean) => void;
  /** Connections, used in turn. Default 2. */
  readonly connections?: number;
  /** Invocations share a stream of each connection where the gateway serves that. Default true. */
  readonly shared?: boolean;
  /** Invocations at once; more end in `overload`. Default 1024. */
  readonly invocationsMax?: number;
  /** How long the gateway may take to accept or refuse; past it the outcome is `disconnect`. Default 5000. */
  readonly acceptTimeoutMs?: number;
  /** Age at which the list of providers is fetched again. Default 10000. */
  readonly refreshMs?: number;
}

export interface InvocationOrigin {
  readonly tenantId: string;
  readonly nodeId: string;
  /** From 1. */
  readonly attempt: number;
}

export interface RemoteProvider {
  readonly name: string;
  readonly modality: Modality;
  /** May be opened now. */
  readonly available: boolean;
}

/** The provider gateway over the wire. An absent gateway ends invocations in `disconnect`; nothing throws. */
export interface RemoteProviders extends ProviderPort {
  /**
   * Fetches the list of providers now, and opens the streams that invocations share. True when the gateway answered; the
   * last list stays when it did not.
   */
  refresh(): Promise<boolean>;
  /** All of the last list, those that cannot be opened included. */
  list(): readonly RemoteProvider[];
  /** Invocations that run. */
  readonly inFlight: number;
  /** Streams that invocations share and that take more. */
  readonly sharedStreams: number;
}
