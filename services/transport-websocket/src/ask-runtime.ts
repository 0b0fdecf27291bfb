/** A call asks for its session: the runtime's answer within a deadline, in the words for a client. */
import { asMonoNs, msToNs } from "@rspp/base/brand";
import { err, type Result } from "@rspp/base/result";
import type { Clock, TimerHandle } from "@rspp/ports/clock";
import type {
  OpenedSession,
  OpenRefusal,
  SessionOpener,
  SessionRequest,
  SessionSeen,
} from "@rspp/ports/session-opener";
import type { Call } from "./call.ts";
import { limits } from "./limits.ts";
import { closeCodes, type Refusal, refusal } from "./refusal.ts";

const BUSY: readonly string[] = ["capacity_exhausted", "draining", "rate_limited", "dependency_unavailable"];

/** What the runtime opens too late is ended. `adopt`: the session lives, another adapter had it. */
export async function askRuntime(
  { clock, openSession }: { readonly clock: Clock; readonly openSession: SessionOpener },
  call: Call,
  { token, formats, adopt }: Pick<SessionRequest, "token" | "formats"> & { readonly adopt?: SessionSeen },
): Promise<Result<OpenedSession, Refusal>> {
  const { claims } = call.options;
  const raiseEpoch = (epoch: number): boolean => call.gate.raiseEpoch(epoch);
  const live = adopt === undefined ? {} : { adopt };
  const asked = openSession({ claims, token, transport: call, formats, raiseEpoch, ...live }).catch(
    () =>
      err({ reason: "runtime_internal_error", remedy: "Report it with the session id." }) as Result<never, OpenRefusal>,
  );
  let timer: TimerHandle | undefined;
  const late = new Promise<null>((resolve) => {
    timer = clock.timerAt(asMonoNs(clock.nowNs() + msToNs(limits.OPENER_DEADLINE_MS)), () => resolve(null));
  });
  const opened = await Promise.race([asked, late]);
  timer?.clear();
  if (opened === null) {
    void asked.then((it) => it.ok && endAtOnce(it.value));
    return err(refusal("deadline_exceeded", closeCodes.tryLater, { remedy: "The runtime did not answer: try again." }));
  }
  if (!opened.ok) {
    const code = BUSY.includes(opened.error.reason) ? closeCodes.tryLater : closeCodes.notAllowed;
    return err(refusal(opened.error.reason, code, { remedy: opened.error.remedy.slice(0, 512) }));
  }
  const { tenant, sessionId, pipelineVersion } = opened.value;
  // The token binds all three (F-088): a session of anything else is none of this caller's.
  const bound = tenant === claims.tenant && sessionId === claims.session && pipelineVersion === claims.pipelineVersion;
  if (bound) return opened;
  endAtOnce(opened.value);
  const metadata = { bound: `${claims.tenant}/${claims.pipelineVersion}`.slice(0, 256) };
  return err(
    refusal("permission_denied", closeCodes.notAllowed, { metadata, remedy: "Ask the registry for a new route." }),
  );
}

function endAtOnce({ session, epoch }: OpenedSession): void {
  const head = { kind: "control", epoch, controlClass: "overtaking" } as const;
  session.receive({ ...head, sequence: 1, signal: "connected" });
  session.receive({
    kind: "control",
    epoch,
    controlClass: "positioned",
    sequence: 2,
    signal: "ended",
    lastMediaSequence: 0,
    reason: "refused",
  });
}
