/** An adapter's opener and a runtime's admission over real loopback links, with a lease service and a registry as objects. */
import { generateKeyPairSync, sign } from "node:crypto";
import { create, toBinary } from "@bufbuild/protobuf";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { GrantSchema, type SignedGrant, SignedGrantSchema } from "@rspp/gen/rspp/lease/v1/lease_pb";
import { InstanceStatusSchema, RoutingViewSchema } from "@rspp/gen/rspp/registry/v1/registry_pb";
import { createSystemClock } from "@rspp/host/system-clock";
import type { OpenedSession, SessionNote, SessionRequest, TokenClaims } from "@rspp/ports/session-opener";
import type { TransportEgress, TransportIngress } from "@rspp/ports/transport";
import { acceptLinkSessions } from "@rspp/remote/link-accept";
import type {
  LinkOpen,
  LinkOpened,
  LinkOpenHandler,
  LinkSessions,
  OpenerNotice,
  RemoteSessionOpener,
  RemoteSessionOpenerOptions,
} from "@rspp/remote/link-session-types";
import { createRemoteSessionOpener } from "@rspp/remote/session-opener";
import { leaseReceivers } from "@rspp/remote/session-opener-lease";
import type { RpcConnection } from "@rspp/rpc/clients";
import { rpcError } from "@rspp/rpc/errors";
import { type GrpcServer, startGrpcServer } from "@rspp/rpc/grpc-server";
import { createLinkServer, type LinkServer } from "@rspp/rpc/link-server";
import { Line } from "./link-rig.ts";

export const clock = createSystemClock();
export const FORMAT = { codec: "pcm_s16le", rateHz: 16_000, channels: 1 } as const;

const { privateKey, publicKey } = generateKeyPairSync("ed25519");

export function signGrant(init: {
  tenant?: string;
  session: string;
  epoch: number;
  holder?: string;
  forged?: boolean;
}): SignedGrant {
  const grant = toBinary(
    GrantSchema,
    create(GrantSchema, {
      session: { tenantId: init.tenant ?? "acme", sessionId: init.session },
      epoch: BigInt(init.epoch),
      storeIncarnation: 1,
      holderId: init.holder ?? "runtime-1",
      termMs: 60_000,
      grantId: `grant-${init.epoch}`,
      receivers: leaseReceivers("adapter-1", init.holder ?? "runtime-1"),
    }),
  );
  const signature = init.forged === true ? new Uint8Array(64) : sign(null, grant, privateKey);
  return create(SignedGrantSchema, { grant, keyId: "k-1", signature });
}

/** The lease service and the registry, as far as an opener asks them. */
export class Platform {
  epoch = 7;
  grants: { holderId: string; idempotencyKey: string }[] = [];
  released: number[] = [];
  views = 0;
  address = "";
  /** Set: refuses. */
  leaseRefusal: ErrorReason | null = null;
  registryAway = false;
  maxStalenessMs = 60_000;
  draining = false;
  grantOf: ((session: string, epoch: number) => SignedGrant) | null = null;

  readonly lease: RpcConnection = fake({
    grantLease: async (ask: { session: { sessionId: string }; holderId: string; idempotencyKey: string }) => {
      if (this.leaseRefusal !== null) throw rpcError(this.leaseRefusal, { domain: "lease" });
      this.grants.push(ask);
      const epoch = ++this.epoch;
      const session = ask.session.sessionId;
      const signed = this.grantOf?.(session, epoch) ?? signGrant({ session, epoch, holder: ask.holderId });
      const grant = { epoch: BigInt(epoch), issuedWallMs: 1n, expiresWallMs: 60_001n, termMs: 60_000 };
      return { lease: { grant }, signed };
    },
    releaseLease: async ({ epoch }: { epoch: bigint }) => void this.released.push(Number(epoch)),
    listSigningKeys: async () => ({
      keys: [{ keyId: "k-1", publicKey: publicKey.export({ type: "spki", format: "der" }).subarray(-32) }],
    }),
  });

  readonly registry: RpcConnection = fake({
    getRoutingView: async ({ knownVersion }: { knownVersion: string }) => {
      this.views++;
      if (this.registryAway) throw rpcError(ErrorReason.DEPENDENCY_UNAVAILABLE, { domain: "registry" });
      const version = `v-${this.draining}-${this.address}`;
      if (knownVersion === version) return {};
      const runtime = { instanceId: "runtime-1", role: "runtime", address: this.address, capacitySessions: 100 };
      const instances = [create(InstanceStatusSchema, { ...runtime, ready: true, draining: this.draining })];
      const { maxStalenessMs } = this;
      return { view: create(RoutingViewSchema, { version, instances, maxStalenessMs }) };
    },
  });
}

function fake(methods: object): RpcConnection {
  return { client: () => methods, transport: undefined } as unknown as RpcConnection;
}

/** A session as the runtime has it: what it heard, and its way to the caller. */
export class Hosted {
  readonly open: LinkOpen;
  readonly heard: TransportIngress[] = [];
  readonly floors: number[] = [];
  gone: string | null = null;
  tell: ((note: SessionNote) => void) | null = null;
  kinds: readonly string[] = [];
  onMessage: ((message: TransportIngress) => void) | null = null;

  constructor(open: LinkOpen) {
    this.open = open;
  }

  opened(reconnectMs: number): LinkOpened {
    return {
      session: {
        receive: (message) => {
          this.heard.push(message);
          this.onMessage?.(message);
        },
      },
      reconnectMs,
      observe: (kinds, tell) => {
        this.kinds = kinds;
        this.tell = tell;
        return () => {
          this.tell = null;
        };
      },
      onFloor: (epoch) => void this.floors.push(epoch),
      onGone: (reason) => {
        this.gone = reason;
      },
    };
  }

  send(message: TransportEgress): void {
    this.open.transport.send(message);
  }
}

/** A caller's transport: what it was told. */
export class Caller {
  readonly told: TransportEgress[] = [];
  epoch = 0;
  opened: OpenedSession | null = null;
  onMessage: ((message: TransportEgress) => void) | null = null;

  request(session: string, claims: Partial<TokenClaims> = {}): SessionRequest {
    return {
      claims: {
        tenant: "acme",
        session,
        pipelineVersion: "voice-assistant@1",
        instance: "runtime-1",
        expiresWallMs: Date.now() + 60_000,
        variables: { name: '"Ada"', age: "36" },
        ...claims,
      },
      token: `token-of-${session}`,
      transport: {
        send: (message) => {
          this.told.push(message);
          this.onMessage?.(message);
        },
      },
      formats: { input: FORMAT, output: { codec: "pcm_s16le", rateHz: 24_000, channels: 1 } },
      raiseEpoch: (epoch) => {
        if (epoch < this.epoch) return false;
        this.epoch = epoch;
        return true;
      },
    };
  }

  get closed(): string | null {
    const close = this.told.find((message) => message.kind === "close");
    return close?.kind === "close" ? close.reason : null;
  }
}

export interface RemoteRig {
  readonly platform: Platform;
  readonly opener: RemoteSessionOpener;
  readonly sessions: LinkSessions;
  readonly server: LinkServer;
  readonly hosted: Map<string, Hosted>;
  readonly refusals: string[];
  readonly notices: OpenerNotice[];
  readonly line: Line;
  /** Answers an opening; by default yes. */
  onOpen: LinkOpenHandler | null;
  open(session: string, claims?: Partial<TokenClaims>): Promise<{ caller: Caller; host: Hosted; end: OpenedSession }>;
  stop(): Promise<void>;
}

export async function remoteRig(
  options: { reconnectMs?: number; opener?: Partial<RemoteSessionOpenerOptions> } = {},
): Promise<RemoteRig> {
  const platform = new Platform();
  const hosted = new Map<string, Hosted>();
  const refusals: string[] = [];
  const notices: OpenerNotice[] = [];
  const rig = { onOpen: null as LinkOpenHandler | null };
  const sessions = acceptLinkSessions({
    clock,
    onOpen: async (open) => {
      if (rig.onOpen !== null) return rig.onOpen(open);
      const host = new Hosted(open);
      hosted.set(open.session, host);
      return { ok: true, value: host.opened(options.reconnectMs ?? 0) };
    },
    onRefused: (_where, detail) =>
      void refusals.push(`${ErrorReason[detail.reason]} ${detail.violations[0]?.field ?? ""}: ${detail.remedy}`),
  });
  const server = createLinkServer({ domain: "runtime", peerId: "runtime-1", build: "test", onLink: sessions.onLink });
  const grpc: GrpcServer = await startGrpcServer({ domain: "runtime", port: 0, services: [server.service] });
  const line = new Line(grpc.port);
  platform.address = await line.open();
  const opener = createRemoteSessionOpener({
    clock,
    adapterId: "adapter-1",
    build: "test",
    lease: platform.lease,
    registry: platform.registry,
    // Another runtime there is none: these tests are about a session that stays with its own.
    failover: false,
    onNotice: (notice) => void notices.push(notice),
    ...options.opener,
  });
  return Object.assign(rig, {
    platform,
    opener,
    sessions,
    server,
    hosted,
    refusals,
    notices,
    line,
    open: async (session: string, claims: Partial<TokenClaims> = {}) => {
      const caller = new Caller();
      const opened = await opener.open(caller.request(session, claims));
      if (!opened.ok) throw new Error(`refused: ${JSON.stringify(opened.error)}`);
      caller.opened = opened.value;
      caller.epoch = opened.value.epoch;
      const host = hosted.get(session);
      if (host === undefined) throw new Error(`${session} is not hosted`);
      return { caller, host, end: opened.value };
    },
    stop: async () => {
      opener.close();
      sessions.close();
      server.close();
      line.close();
      await grpc.stop(200);
    },
  });
}

let frames = 0;

/** 20 ms of a caller; `mark` stands in its first samples. */
export function audioIn(epoch: number, sequence: number, mark = ++frames): TransportIngress {
  const bytes = new Uint8Array(640);
  new DataView(bytes.buffer).setUint32(0, mark);
  return {
    kind: "audio",
    epoch,
    sequence,
    mediaUs: (sequence - 1) * 20_000,
    durationUs: 20_000,
    format: FORMAT,
    bytes,
  };
}

export function mediaOut(epoch: number, turn: number, generation: number, sequence: number): TransportEgress {
  return {
    kind: "media",
    epoch,
    turn,
    generation,
    sequence,
    offsetUs: (sequence - 1) * 20_000,
    durationUs: 20_000,
    format: FORMAT,
    bytes: new Uint8Array(640).fill(sequence % 256),
    end: false,
  };
}

export function signalIn(
  epoch: number,
  sequence: number,
  signal: string,
  more: Partial<Extract<TransportIngress, { kind: "control" }>> = {},
): TransportIngress {
  return { kind: "control", epoch, sequence, signal, controlClass: "positioned", ...more };
}

export const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
