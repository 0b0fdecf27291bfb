/**
 * The lease service of one machine: the shipped grantor by direct call. Each start of the store is a new incarnation, so
 * that no epoch is given twice (`kernel.md` §7).
 */
import { createHmac, randomBytes } from "node:crypto";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type MonoNs, msToNs } from "@rspp/base/brand";
import type { Clock, TimerHandle } from "@rspp/ports/clock";
import { createGrantor, endLease, grantLease, renewLease } from "@rspp/protocol/lease-grantor";
import type { Grant } from "@rspp/protocol/lease-types";
import { limits } from "@rspp/protocol/limits";
import type { RuntimeSession } from "@rspp/runtime/runtime";

export interface LocalLease {
  grant(session: string): { epoch: number; deadlineNs: MonoNs; incarnation: string };
  /** Renews every 5 s until the session is over. */
  keep(session: RuntimeSession): void;
}

export async function openLocalLease(dataDir: string, clock: Clock): Promise<LocalLease> {
  const incarnation = await nextIncarnation(dataDir);
  const grantor = createGrantor(incarnation);
  const key = randomBytes(32);
  const holder = `local-${incarnation}`;
  const sign = (grant: Grant): string => createHmac("sha256", key).update(JSON.stringify(grant)).digest("hex");
  return {
    grant(session) {
      const now = clock.nowNs();
      const granted = grantLease(grantor, { session, holder, receivers: ["adapter", "runtime"] }, sign, now);
      if (!granted.ok) throw new Error(`no lease for ${session}: ${granted.error}`);
      const { epoch, termMs } = granted.value.signed.grant;
      return { epoch, deadlineNs: (now + msToNs(termMs)) as MonoNs, incarnation: `local-${incarnation}` };
    },
    keep(session) {
      const { epoch } = session.config.authority;
      let timer: TimerHandle | undefined;
      const renew = (): void => {
        const now = clock.nowNs();
        const renewed = renewLease(grantor, { session: session.id, holder, epoch }, now);
        if (!renewed.ok) return;
        const deadlineNs = (now + msToNs(renewed.value.termMs)) as MonoNs;
        session.update({ type: "authority", kind: "renewed", epoch, deadlineNs });
        timer = clock.timerAt((now + msToNs(limits.LEASE_RENEW_MS)) as MonoNs, renew);
      };
      timer = clock.timerAt((clock.nowNs() + msToNs(limits.LEASE_RENEW_MS)) as MonoNs, renew);
      void session.ended.then(() => {
        timer?.clear();
        endLease(grantor, session.id);
      });
    },
  };
}

async function nextIncarnation(dataDir: string): Promise<number> {
  await mkdir(dataDir, { recursive: true });
  const file = join(dataDir, "lease-incarnation");
  const known = await readFile(file, "utf8").then(Number, () => 0);
  const next = (Number.isSafeInteger(known) && known >= 0 ? known : 0) + 1;
  await writeFile(`${file}.new`, `${next}\n`);
  await rename(`${file}.new`, file);
  return next;
}
