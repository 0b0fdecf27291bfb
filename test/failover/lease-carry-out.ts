/** A recorded call, carried out by the lease service's logic in this process, and what a caller would hear. */
import type { LeaseAnswer as Issued, LeaseService } from "@rspp/lease/lease-service";
import type { SessionKey } from "@rspp/store/state-store";
import type { LeaseAnswer, LeaseCall } from "./lease-model.ts";

type Told = "granted" | "revoked" | "released";

export async function carryOut(
  service: LeaseService,
  session: SessionKey,
  call: LeaseCall,
  lapse: (session: SessionKey) => Promise<unknown>,
): Promise<LeaseAnswer> {
  if (call.kind === "get") {
    const found = await service.get(session);
    if (found === undefined) return { ok: false, problem: "unknown_session" };
    return told(found, found.lease.revoked ? "revoked" : found.ended ? "released" : "granted");
  }
  if (call.kind === "lapse") {
    await lapse(session);
    return { ok: true, epoch: 0, holder: "", state: "expired" };
  }
  const answer = await ask(service, session, call);
  if (!answer.ok) return { ok: false, problem: answer.error };
  return told(answer.value, call.kind === "revoke" ? "revoked" : call.kind === "release" ? "released" : "granted");
}

function told({ lease, nowWallMs }: Pick<Issued, "lease" | "nowWallMs">, state: Told): LeaseAnswer {
  const expired = state === "granted" && lease.expiresWallMs <= nowWallMs;
  return { ok: true, epoch: lease.epoch, holder: lease.holder ?? "", state: expired ? "expired" : state };
}

function ask(service: LeaseService, session: SessionKey, call: Exclude<LeaseCall, { kind: "get" | "lapse" }>) {
  switch (call.kind) {
    case "grant": {
      const { holder, takeover, expected, key } = call;
      return service.grant({ session, holder, takeover, expectedEpoch: expected, requestKey: key, receivers: [] });
    }
    case "revoke":
      return service.revoke(session, call.epoch);
    case "rotate":
      return service.rotate({ session, ...call, requestKey: call.key, lastSequence: 1 });
    case "transfer": {
      const { holder, epoch, to, key } = call;
      const asked = { session, holder, epoch, toHolder: to, requestKey: key };
      return service.transfer({ ...asked, receivers: [], consented: true });
    }
    default:
      return service[call.kind]({ session, ...call });
  }
}
