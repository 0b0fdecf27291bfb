/** The runtime's side of sessions over links: admits what adapters ask for, and keeps it over the death of a pair. */
import { monoPlusNs, msToNs } from "@rspp/base/brand";
import { err, type Result } from "@rspp/base/result";
import { sessionKey } from "@rspp/base/session-key";
import { type ErrorDetail, ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import type { OpenRefusal } from "@rspp/ports/session-opener";
import { errorRule, rpcError } from "@rspp/rpc/errors";
import type { LinkHandlers } from "@rspp/rpc/link-api";
import type { LinkPeer } from "@rspp/rpc/link-server";
import { errorReasonNames } from "@rspp/wire/names";
import { limits } from "./link-limits.ts";
import { grantMismatch, type OpenAsk, openProblem } from "./link-open.ts";
import { RuntimeBinding } from "./link-runtime-binding.ts";
import { RuntimeSession } from "./link-runtime-session.ts";
import type { RuntimeShared } from "./link-runtime-shared.ts";
import type {
  LinkOpen,
  LinkOpened,
  LinkSessions,
  LinkSessionsOptions,
  LinkSessionsStats,
} from "./link-session-types.ts";
import { HANDED_OVER } from "./link-words.ts";

/** Takes the sessions of every link it is given; `createLinkServer({onLink: sessions.onLink})`. */
export function acceptLinkSessions(options: LinkSessionsOptions): LinkSessions {
  return new Sessions(options);
}

class Sessions implements LinkSessions, RuntimeShared {
  readonly clock;
  readonly domain: string;
  readonly #options: LinkSessionsOptions;
  readonly #sessions = new Map<string, RuntimeSession>();
  readonly #refused = new Map<string, number>();
  readonly #unsent = new Map<string, number>();
  #opened = 0;
  #reattached = 0;
  #duplicates = 0;
  #forced = 0;
  #closed: string | null = null;

  constructor(options: LinkSessionsOptions) {
    this.#options = options;
    this.clock = options.clock;
    this.domain = options.domain ?? "runtime";
  }

  readonly onLink = (peer: LinkPeer): LinkHandlers => ({
    onSession: (port) => new RuntimeBinding(this, peer, port),
  });

  stats(): LinkSessionsStats {
    const phases = [...this.#sessions.values()].map((session) => session.phase);
    const count = (phase: string): number => phases.filter((it) => it === phase).length;
    return {
      opening: count("opening"),
      open: count("open"),
      waiting: count("waiting"),
      opened: this.#opened,
      reattached: this.#reattached,
      refused: Object.fromEntries(this.#refused),
      unsent: Object.fromEntries(this.#unsent),
      duplicates: this.#duplicates,
      forced: this.#forced,
    };
  }

  close(reason = "draining"): void {
    this.#closed = reason;
    for (const session of [...this.#sessions.values()]) session.stop(reason);
  }

  // --- for the sessions ---

  refused(where: { tenant: string; session: string; peer: LinkPeer }, detail: ErrorDetail): void {
    add(this.#refused, errorReasonNames.name(detail.reason));
    this.#options.onRefused?.(where, detail);
  }

  unsent(kind: string): void {
    add(this.#unsent, kind);
  }

  duplicate(): void {
    this.#duplicates += 1;
  }

  forced(): void {
    this.#forced += 1;
  }

  open(binding: RuntimeBinding, ask: OpenAsk): void {
    const problem = this.#problem(binding, ask);
    if (problem !== null) return binding.refuse(problem);
    const key = keyOf(binding);
    const known = this.#sessions.get(key);
    if (ask.reattach !== null && known !== undefined) {
      const refused = known.reattach(binding, ask);
      if (refused !== null) return binding.refuse(refused);
      this.#reattached += 1;
      return;
    }
    const session = new RuntimeSession({
      shared: this,
      binding,
      ask,
      onOver: () => {
        if (this.#sessions.get(key) === session) this.#sessions.delete(key);
      },
    });
    this.#sessions.set(key, session);
    void this.#admit(session, binding, ask);
  }

  /** What keeps this opening from being looked at by the handler, or by the session it wants to go on with. */
  #problem(binding: RuntimeBinding, ask: OpenAsk): ErrorDetail | null {
    const { domain } = this;
    const bound = binding.port.constants;
    if (this.#closed !== null) return rpcError(ErrorReason.DRAINING, { domain }).detail;
    const mismatch = grantMismatch(ask.grant, bound);
    if (mismatch !== null) {
      const remedy = "Bind the session that the grant names.";
      return openProblem(ErrorReason.PERMISSION_DENIED, domain, mismatch.field, mismatch.message, remedy);
    }
    if (ask.grant.epoch !== BigInt(bound.epoch)) {
      const said = `is ${ask.grant.epoch}, the bound epoch ${bound.epoch}`;
      const remedy = "Bind the epoch of the grant.";
      return openProblem(ErrorReason.AUTHORITY_EPOCH_MISMATCH, domain, "open.grant.epoch", said, remedy);
    }
    const known = this.#sessions.get(keyOf(binding));
    if (ask.reattach !== null && (known === undefined || known.phase === "opening")) {
      const remedy = "Open a new session with a new route.";
      return openProblem(ErrorReason.SESSION_NOT_FOUND, domain, "open.reattach", "names no session held here", remedy);
    }
    if (ask.takeover !== null && ask.reattach !== null) {
      const remedy = "Say either that the session lived here or that it lived elsewhere.";
      return openProblem(
        ErrorReason.SCHEMA_VALIDATION_ERROR,
        domain,
        "open.takeover",
        "stands beside reattach",
        remedy,
      );
    }
    if (ask.reattach === null && known !== undefined) {
      const remedy = "The session is open: reattach, or ask for a new route.";
      return openProblem(ErrorReason.ALREADY_EXISTS, domain, "binding.session", "is open here", remedy);
    }
    return null;
  }

  async #admit(session: RuntimeSession, binding: RuntimeBinding, ask: OpenAsk): Promise<void> {
    const opened = await this.#ask(session, binding, ask);
    if (opened.ok) {
      this.#opened += 1;
      return session.begin(opened.value);
    }
    session.abandon();
    const reason = errorReasonNames.number(opened.error.reason) ?? ErrorReason.RUNTIME_INTERNAL_ERROR;
    binding.refuse(rpcError(reason, { domain: this.domain, remedy: opened.error.remedy }).detail);
  }

  /** The handler's answer within the deadline; a session that it opens later is ended at once. */
  async #ask(session: RuntimeSession, binding: RuntimeBinding, ask: OpenAsk): Promise<Result<LinkOpened, OpenRefusal>> {
    const late = err({
      reason: "dependency_unavailable",
      remedy: `The runtime did not open the session within ${limits.LINK_OPEN_DEADLINE_MS} ms: try again.`,
    } as const);
    const failed = (failure: unknown): Result<LinkOpened, OpenRefusal> => {
      const remedy = errorRule(ErrorReason.RUNTIME_INTERNAL_ERROR).remedy;
      this.#options.onFailure?.(failure);
      return err({ reason: "runtime_internal_error", remedy });
    };
    let over = false;
    const asked = this.#options.onOpen(openOf(session, binding, ask)).catch(failed);
    const timeout = new Promise<Result<LinkOpened, OpenRefusal>>((resolve) => {
      const at = monoPlusNs(this.clock.nowNs(), msToNs(limits.LINK_OPEN_DEADLINE_MS));
      const timer = this.clock.timerAt(at, () => resolve(late));
      void asked.then((opened) => {
        timer.clear();
        if (over && opened.ok) endAtOnce(opened.value, binding.port.constants.epoch);
      });
    });
    const answer = await Promise.race([asked, timeout]);
    over = true;
    return answer;
  }
}

function openOf(session: RuntimeSession, binding: RuntimeBinding, ask: OpenAsk): LinkOpen {
  const { tenant, session: id, pipelineVersion, epoch } = binding.port.constants;
  return {
    tenant,
    session: id,
    pipelineVersion,
    epoch,
    token: ask.token,
    grant: ask.signed,
    outputFormat: ask.outputFormat ?? binding.codec.format,
    variables: ask.variables,
    traceparent: ask.traceparent,
    transport: session,
    peer: binding.peer,
    announceFloor: (grant) => session.announceFloor(grant),
    takeover: ask.takeover,
    handOver: (where) => session.handOver(where),
  };
}

/** For a session whose adapter was told that it would not come. */
export function endAtOnce({ session, onGone, takeover, onHandedOver }: LinkOpened, epoch: number): void {
  // One that lived before goes on elsewhere: it must not end for good here.
  if (takeover !== undefined && onHandedOver !== undefined) {
    onHandedOver();
    return onGone?.(HANDED_OVER);
  }
  const head = { kind: "control", epoch } as const;
  session.receive({ ...head, controlClass: "overtaking", sequence: 1, signal: "connected" });
  const ended = { signal: "ended", reason: "timeout", lastMediaSequence: 0 } as const;
  session.receive({ ...head, controlClass: "positioned", sequence: 1, ...ended });
  onGone?.("timeout");
}

function keyOf({ port }: RuntimeBinding): string {
  const { tenant, session } = port.constants;
  return sessionKey({ tenantId: tenant, sessionId: session });
}

function add(counts: Map<string, number>, name: string): void {
  counts.set(name, (counts.get(name) ?? 0) + 1);
}
