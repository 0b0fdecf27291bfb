/** Who calls: what a server found out before its handler runs. */
import { type ContextValues, createContextKey, createContextValues } from "@connectrpc/connect";
import { Role } from "@rspp/gen/rspp/common/v1/access_pb";

/** Where a call comes from. */
export interface Peer {
  /** In the certificate it showed, which the CA of the server has signed; none without mutual TLS. */
  readonly names: readonly string[];
  /** Of this process, without a socket. */
  readonly inProcess: boolean;
}

/** Tokens of this tenant are good for all. */
export const everyTenant = "*";

export interface Caller {
  readonly role: Role;
  /** {@link everyTenant} for services and administrators of the platform. */
  readonly tenantId: string;
  /** For logs and the audit log, e.g. `ci-deploy (atk_…)`, `service`, `local`. */
  readonly name: string;
}

const inProcess: Peer = { names: [], inProcess: true };
// What a server sets for what came by a socket; without it a call came from within.
const peerKey = createContextKey<Peer>(inProcess, { description: "where a call comes from" });
const within: Caller = { role: Role.SERVICE, tenantId: everyTenant, name: "in-process" };
const callerKey = createContextKey<Caller>(within, { description: "who calls" });

/** The context of a call that came by a socket. */
export function peerContext(names: readonly string[]): ContextValues {
  return createContextValues().set(peerKey, { names, inProcess: false });
}

export function peerOfCall(values: ContextValues): Peer {
  return values.get(peerKey);
}

/** For handlers: who is responsible for what they do. */
export function callerOf(values: ContextValues): Caller {
  return values.get(callerKey);
}

export function setCaller(values: ContextValues, caller: Caller): void {
  values.set(callerKey, caller);
}

const audited = createContextKey(false, { description: "the change stands in the audit log already" });

/** For handlers whose store wrote the audit entry with the change, in one transaction: it is not written a second time. */
export function setAudited(values: ContextValues): void {
  values.set(audited, true);
}

export function isAudited(values: ContextValues): boolean {
  return values.get(audited);
}

const actorCharsMax = 128;

/**
 * Who is responsible for a change (F-097, F-115): whoever showed a token of his own, whatever the request says; of a service,
 * which speaks for others, and of the machine's own user, the name in the request.
 */
export function actorOf(values: ContextValues, asked: string): string {
  const { role, name } = callerOf(values);
  const speaksForOthers = role === Role.SERVICE;
  return (speaksForOthers && asked !== "" ? asked : name).slice(0, actorCharsMax);
}
