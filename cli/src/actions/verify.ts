/** `rspp verify`: is a recording whole and unaltered (kernel.md §11). */
import { ErrorReasonSchema } from "@rspp/gen/rspp/common/v1/error_pb";
import type { SealedEvidence } from "@rspp/kernel/evidence";
import { verifyEvidence } from "@rspp/kernel/evidence";
import { listSessions, readSession } from "@rspp/runtime/spool/reader";
import { describeProblem } from "@rspp/runtime/spool/scan";
import { wordOf } from "../enum-words.ts";
import { EXIT_FAILED, EXIT_OK, InputError } from "../errors.ts";
import { createPrinter } from "../output/printer.ts";
import { paint } from "../output/style.ts";
import { countWords } from "../output/words.ts";
import type { RecordingOptions, Where } from "../timeline/options.ts";
import { isUnknown, openSource, orNowhere, type Source, unknownSession } from "../timeline/source.ts";

interface Verdict {
  /** No record was altered or is missing in between. */
  chain_intact: boolean;
  /** Nothing was lost, declared or not. */
  complete: boolean;
  records: number;
  turns_with_evidence: number;
  turns_without_evidence: number;
  faults: readonly string[];
  declared_losses: readonly string[];
}

export async function verify(session: string, options: RecordingOptions, where: Where): Promise<number> {
  const source = openSource(session, options, where);
  const verdict = await orNowhere(session, options, where, verdictOf(session, source));
  const ok = verdict.chain_intact && verdict.complete && verdict.turns_without_evidence === 0;
  const printer = createPrinter(options.json ?? false);
  printer.data({ ok, session, ...verdict });
  const { records, turns_with_evidence: sealed, turns_without_evidence: unsealed } = verdict;
  printer.line(
    `chain     ${verdict.chain_intact ? paint("green", "intact") : paint("red", "BROKEN")}, ${countWords(records, "record")}`,
  );
  printer.line(`complete  ${verdict.complete ? paint("green", "yes") : paint("yellow", "no")}`);
  printer.line(
    `evidence  ${countWords(sealed, "turn")} sealed${unsealed === 0 ? "" : paint("red", `, ${unsealed} without`)}`,
  );
  for (const loss of verdict.declared_losses) printer.line(`${paint("yellow", "lost")}      ${loss}`);
  for (const fault of verdict.faults) printer.line(`${paint("red", "fault")}     ${fault}`);
  return ok ? EXIT_OK : EXIT_FAILED;
}

async function verdictOf(session: string, source: Source): Promise<Verdict> {
  return source.kind === "local" ? localVerdict(session, source) : remoteVerdict(session, source);
}

async function remoteVerdict(session: string, source: Extract<Source, { kind: "service" }>): Promise<Verdict> {
  const request = { session: { tenantId: source.tenant, sessionId: session }, purpose: source.purpose ?? "" };
  const told = await source.replay
    .ask((client) => client.verifyTimeline(request))
    .catch((error: unknown) => {
      throw isUnknown(error) ? unknownSession(session, source.replay.url) : error;
    });
  if (told.records === 0n) throw unknownSession(session, source.replay.url);
  return {
    chain_intact: told.chainIntact,
    complete: told.complete,
    records: Number(told.records),
    turns_with_evidence: told.turnsWithEvidence,
    turns_without_evidence: told.turnsWithoutEvidence,
    faults: told.faults.map(
      ({ epoch, sequence, reason, detail }) =>
        `epoch ${epoch}, record ${sequence}: ${wordOf(ErrorReasonSchema, reason)}: ${detail}`,
    ),
    declared_losses: told.declaredLosses.map(
      ({ predecessorEpoch, lastKnownSequence, boundMs }) =>
        `epoch ${predecessorEpoch}: at most ${boundMs} ms after record ${lastKnownSequence}`,
    ),
  };
}

/** @throws InputError for a session that is not there. */
function localVerdict(session: string, { store, data, tenant }: Extract<Source, { kind: "local" }>): Verdict {
  const { runs, problems } = readSession(store, session, tenant);
  if (runs.length === 0)
    throw new InputError(
      `session ${session}: not in this spool\n   help: list the sessions with \`rspp sessions --data ${data}\``,
    );
  const opened = new Set<number>();
  const sealed = new Set<number>();
  for (const run of runs)
    for (const { content } of run.records) {
      const record = content as { kind?: string; turn?: number; manifest?: SealedEvidence } | null;
      if (record?.kind === "plan" && record.turn !== undefined) opened.add(record.turn);
      if (record?.kind !== "evidence" || record.turn === undefined || record.manifest === undefined) continue;
      opened.add(record.turn);
      if (verifyEvidence(record.manifest)) sealed.add(record.turn);
    }
  const faults = problems.map(describeProblem);
  const ended = runs.every((run) => run.ended);
  return {
    chain_intact: faults.length === 0,
    complete: faults.length === 0 && ended,
    records: listSessions(store).find((it) => it.sessionId === session && it.tenantId === tenant)?.records ?? 0,
    turns_with_evidence: sealed.size,
    turns_without_evidence: [...opened].filter((turn) => !sealed.has(turn)).length,
    faults,
    declared_losses: ended ? [] : ["the end of the session is not recorded: its process died, or is still running"],
  };
}
