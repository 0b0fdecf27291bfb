/** Runs the machine of libs/protocol in the store's transactions, over a clock that all replicas share. */
import { invariant } from "@rspp/base/invariant";
import { limits } from "@rspp/protocol/limits";
import {
  type LeaseDecision,
  type LeaseMode,
  type LeaseStore,
  type LeaseView,
  renewAllMax,
} from "@rspp/store/lease-store";
import type { SessionKey } from "@rspp/store/state-store";
import { type GrantorView, grantorView } from "./grantor-view.ts";
import { SharedClock } from "./shared-clock.ts";

/** One session's step; a step of the shared clock is met before anything is decided by it. */
export type Decide = <T>(
  session: SessionKey,
  mode: LeaseMode,
  step: (view: LeaseView, grantor: GrantorView) => LeaseDecision<T>,
  requestKey?: string,
) => Promise<T>;

export interface Deciding {
  readonly decide: Decide;
  /** Renewals, many in a transaction; the answers in the order asked. */
  renewAll<A extends { readonly session: SessionKey }, T>(
    asks: readonly A[],
    step: (ask: A, view: LeaseView, grantor: GrantorView) => LeaseDecision<T>,
  ): Promise<readonly T[]>;
}

export function createDeciding(store: LeaseStore, monoMs: () => number): Deciding {
  const clock = new SharedClock();

  /** One look at the store, as its clock lets it be believed. */
  function looking() {
    const askedMs = monoMs();
    let stepped = false;
    return {
      at: (seen: LeaseView): LeaseView => {
        stepped ||= clock.stepped(seen.nowWallMs, askedMs, monoMs());
        return stepped ? distrusting(seen) : seen;
      },
      stepped: () => stepped,
    };
  }

  return {
    decide: async (session, mode, step, requestKey = "") => {
      const look = looking();
      const once = (seen: LeaseView) => {
        const view = look.at(seen);
        return step(view, grantorView(view));
      };
      const answer = await store.update(session, mode, once, requestKey);
      // The store's row is left alone by all of them; the mistrust is written behind them.
      if (look.stepped()) await store.distrustClock(limits.LEASE_TERM_MS);
      return answer;
    },
    renewAll: async (asks, step) => {
      const answers = [];
      for (let from = 0; from < asks.length; from += renewAllMax) {
        const part = asks.slice(from, from + renewAllMax);
        const look = looking();
        const sessions = part.map(({ session }) => session);
        const told = await store.renewAll(sessions, (seen, i) => {
          const ask = part[i];
          invariant(ask !== undefined, "each renewal is asked for");
          const view = look.at(seen);
          return step(ask, view, grantorView(view));
        });
        if (look.stepped()) await store.distrustClock(limits.LEASE_TERM_MS);
        answers.push(...told);
      }
      return answers;
    },
  };
}

function distrusting(view: LeaseView): LeaseView {
  const lostRunOutWallMs = Math.max(view.store.lostRunOutWallMs, view.nowWallMs + limits.LEASE_TERM_MS);
  return { ...view, store: { ...view.store, lostRunOutWallMs } };
}
