/** Sessions that adapters open over links: their proofs are verified, then they go through the one door. */
import type { LinkOpen, LinkOpenHandler } from "@rspp/remote/link-session-types";
import type { Admission, ProofVerifier } from "./admission.ts";

export function linkOpenHandler(admission: Admission, proofs: ProofVerifier): LinkOpenHandler {
  return async (open) => {
    const { token, grant, transport, variables, traceparent } = open;
    const proved = await proofs.verify({ token, grant, bound: boundOf(open) });
    if (!proved.ok) return proved;
    const admitted = await admission.open({
      ...proved.value,
      transport,
      variables,
      traceparent,
      raiseEpoch: (_epoch, proof) => {
        // The link keeps what the session sends under the new epoch until the adapter's floor is raised.
        if (proof !== null) open.announceFloor(proof);
      },
    });
    if (!admitted.ok) return admitted;
    const { session, reconnectMs, observe } = admitted.value;
    return { ok: true, value: { session, reconnectMs, observe } };
  };
}

function boundOf({ tenant, session, pipelineVersion, epoch }: LinkOpen) {
  return { tenantId: tenant, sessionId: session, pipelineVersion, epoch };
}
