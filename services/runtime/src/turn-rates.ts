/** Turns a minute of one session, from the admission snapshot (F-050). */
import { OverRateAction } from "@rspp/gen/rspp/registry/v1/admission_pb";
import type { AdmissionSnapshot } from "@rspp/gen/rspp/registry/v1/snapshot_pb";
import type { TurnRate } from "@rspp/kernel/turn-rate";

const PLATFORM = "*";
const THROTTLE_MAX_MS = 1_000;
const SECONDS_PER_MINUTE = 60;

/** Null: no bound. @param sessions of the tenant here: they share its rate on this runtime evenly. */
export function turnRateOf(snapshot: AdmissionSnapshot | undefined, tenant: string, sessions: number): TurnRate | null {
  const tenants = snapshot?.tenants ?? [];
  const entry =
    tenants.find(({ tenantId }) => tenantId === tenant) ?? tenants.find(({ tenantId }) => tenantId === PLATFORM);
  if (entry === undefined) return null;
  const { sessionTurnsPerMinute, turnsPerMinute, turnsBurst, turnsOver, throttleMaxMs } = entry;
  const share = turnsPerMinute / Math.max(1, roughly(sessions));
  const rates = [sessionTurnsPerMinute, share].filter((rate) => rate > 0);
  if (rates.length === 0) return null;
  const rate = Math.min(...rates);
  return {
    perMinute: rate,
    burst: Math.max(1, Math.min(turnsBurst || Math.floor(rate / SECONDS_PER_MINUTE), Math.ceil(rate))),
    onExceeded: actionOf(turnsOver),
    throttleMaxMs: throttleMaxMs || THROTTLE_MAX_MS,
  };
}

/** Up to a power of two: not every call that comes or goes is told all others. */
function roughly(sessions: number): number {
  return sessions <= 1 ? sessions : 2 ** Math.ceil(Math.log2(sessions));
}

function actionOf(over: OverRateAction): TurnRate["onExceeded"] {
  if (over === OverRateAction.THROTTLE) return "throttle";
  return over === OverRateAction.DEGRADE ? "degrade" : "reject";
}
