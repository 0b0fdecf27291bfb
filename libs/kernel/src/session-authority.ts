/**
 * What losing and regaining the lease means to a session (`kernel.md` §7). Without it nothing is caused any more: no provider
 * is opened or fed, no node asked, nothing put out or written. A lease that is gone for good drains the session; one that
 * merely lapsed may be renewed, and the session goes on listening.
 */
import type { MonoNs } from "@rspp/base/brand";
import { ringCreate } from "@rspp/base/ring";
import { authorityApply, authorityExpire } from "./authority.ts";
import { writeConversation } from "./conversation.ts";
import { edgeClear } from "./edge-buffer.ts";
import type { Input } from "./input.ts";
import { abandonDigits } from "./keypad.ts";
import { lanesForgetTurn } from "./lanes.ts";
import { abandonUtterances } from "./prelude.ts";
import { drainSession } from "./session-end.ts";
import { clearTimer, type StepContext, signal } from "./step-context.ts";
import { causeForAll, resolveUrgentCauses } from "./turn-arbiter.ts";

export function ingestAuthority(cx: StepContext, input: Input): void {
  const body = input.body;
  if (body.type !== "authority") return;
  cx.inputSeq = input.seq;
  cx.atNs = input.monoNs;
  const { authority } = cx.s;
  const before = authority.epoch;
  const wasHeld = authority.held === "held";
  const change = authorityApply(authority, { kind: body.kind, epoch: body.epoch, deadlineNs: body.deadlineNs });
  if (change.rotatedFrom !== undefined) {
    const fields = { epochOld: before, epochNew: body.epoch, lastSequence: cx.s.seq };
    signal(cx, "lease_rotated", "lease", 0, "", fields);
  }
  if (!change.changed) return;
  if (authority.held === "revoked" || authority.held === "superseded") {
    if (change.lost) letGo(cx, body.kind);
    if (cx.s.lifecycle.phase === "active") drainSession(cx, "authority_loss");
  } else if (!wasHeld && cx.s.stateWriteOwed) {
    cx.s.stateWriteOwed = false;
    writeConversation(cx);
  }
}

/** Machines can be suspended: every step looks at the lease before any effect. */
export function expireAuthority(cx: StepContext, nowNs: MonoNs): void {
  if (authorityExpire(cx.s.authority, nowNs)) letGo(cx, "lease_expired");
}

function letGo(cx: StepContext, reason: string): void {
  const s = cx.s;
  abandonUtterances(cx, "authority_loss");
  abandonDigits(cx);
  s.run.edges.forEach((edge, e) => {
    if (edge === null) return;
    edgeClear(edge);
    clearTimer(cx, `edge:0:${e}`);
  });
  lanesForgetTurn(s.lanes, 0);
  s.prelude.preroll = ringCreate(s.prelude.preroll.capacity);
  s.prelude.cutUs = Math.max(s.prelude.cutUs, s.timebase.lastEndUs);
  causeForAll(cx, "authority_lost", reason, cx.atNs);
  resolveUrgentCauses(cx);
}
