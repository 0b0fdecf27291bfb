/** Sessions that adapters open over links: their proofs are verified, then they go through the one door. */
import type { LinkOpen, LinkOpenHandler } from "@rspp/remote/link-session-types";
import type { Admission, ProofVerifier } from "./admission.ts";

export function linkOpenHandler(admission: Admission, proofs: ProofVerifier): LinkOpenHandler {
  return async (open) => {
    const { token, grant, transport, variables, traceparent, takeover } = open;
    const proved = await proofs.verify({ token, grant, bound: boundOf(open), takeover: takeover !== null });
    if (!proved.ok) return proved;
    const admitted = await admission.open({
      ...proved.value,
      transport,
      variables,
      traceparent,
      takeover,
      handOver: (ask) => open.handOver(ask),
      raiseEpoch: (_epoch, proof) => {
        // The link keeps what the session sends under the new epoch until the adapter's floor is raised.
        if (proof !== null) open.announceFloor(proof);
      },
    });
    if (!admitted.ok) return admitted;
    const { session, reconnectMs, observe, taken } = admitted.value;
    const onHandedOver = () => session.handover?.released();
    const more = taken === undefined ? {} : { takeover: taken };
    return { ok: true, value: { session, reconnectMs, observe, onHandedOver, ...more } };
  };
}

function boundOf({ tenant, session, pipelineVersion, epoch }: LinkOpen) {
  return { tenantId: tenant, sessionId: session, pipelineVersion, epoch };
}
