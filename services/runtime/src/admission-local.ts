/** The runtime as an adapter in the same process sees it: no link, the same proofs, the same door. */
import { fromBinary } from "@bufbuild/protobuf";
import { GrantSchema, type SignedGrant } from "@rspp/gen/rspp/lease/v1/lease_pb";
import type { OpenedSession } from "@rspp/ports/session-opener";
import type { LocalRuntime } from "@rspp/remote/link-session-types";
import type { Admission, ProofVerifier } from "./admission.ts";

export function createLocalRuntime(admission: Admission, proofs: ProofVerifier): LocalRuntime {
  return {
    instance: admission.instanceId,
    async open({ claims, token, transport, traceparent, raiseEpoch }, grant) {
      const bound = {
        tenantId: claims.tenant,
        sessionId: claims.session,
        pipelineVersion: claims.pipelineVersion,
        epoch: epochOf(grant),
      };
      const proved = await proofs.verify({ token, grant, bound });
      if (!proved.ok) return proved;
      const trace = traceparent === undefined ? {} : { traceparent };
      const admitted = await admission.open({ ...proved.value, transport, raiseEpoch, ...trace });
      if (!admitted.ok) return admitted;
      const { session, epoch, pipelineVersion, reconnectMs, observe } = admitted.value;
      const { tenant, session: sessionId } = claims;
      const value: OpenedSession = { session, epoch, tenant, sessionId, pipelineVersion, reconnectMs, observe };
      return { ok: true, value };
    },
  };
}

/** 0, which no grant has, for what cannot be read: it is refused where its signature is. */
function epochOf(grant: SignedGrant): number {
  try {
    return Number(fromBinary(GrantSchema, grant.grant).epoch);
  } catch {
    return 0;
  }
}
