/** Recordings to judge, as facts for the gates: out of a spool, which is read without a lock. */
import type { GateSession } from "@rspp/replay/gates/facts";
import { listSessions, readSession } from "@rspp/runtime/spool/reader";
import { describeProblem } from "@rspp/runtime/spool/scan";
import type { SpoolStore } from "@rspp/runtime/spool/store";
import { InputError } from "../errors.ts";

/**
 * @param wanted session ids; empty: all of them.
 * @throws InputError where one is not there, or there is none at all.
 */
export function sessionsOf(store: SpoolStore, wanted: readonly string[], place: string): GateSession[] {
  const known = listSessions(store);
  const missing = wanted.filter((id) => !known.some(({ sessionId }) => sessionId === id));
  if (missing.length > 0 || known.length === 0) {
    const what = missing.length > 0 ? `sessions ${missing.join(", ")}: not` : "no recorded session is";
    throw new InputError(`${what} in ${place}\n   help: list the recordings with \`rspp sessions --data DIR\``);
  }
  return known
    .filter(({ sessionId }) => wanted.length === 0 || wanted.includes(sessionId))
    .map(({ tenantId, sessionId }) => {
      const { runs, problems } = readSession(store, sessionId, tenantId);
      return { sessionId, runs, problems: problems.map(describeProblem) };
    });
}
