import { asMonoNs, msToNs } from "@rspp/base/brand";
import type { Effect, TimelineRecord } from "@rspp/kernel/effect";
import type { Batch, Input, InputBody, OutcomeKind } from "@rspp/kernel/input";
import { BATCH_INPUTS_MAX } from "@rspp/kernel/limits";
import type { Fact, FactAnswer, PureFunctions, TextQuestion } from "@rspp/kernel/pure-functions";
import type { JournalEntry } from "@rspp/kernel/replay";
import type { SessionConfig } from "@rspp/kernel/session-config";
import { cutOf } from "@rspp/kernel/text-functions";
import type { Clock, TimerHandle } from "@rspp/ports/clock";
import type { NodeHostPort } from "@rspp/ports/node-host";
import type { ProviderPort } from "@rspp/ports/provider";
import type { TransportEnd, TransportIngress } from "@rspp/ports/transport";
import type { VadPort } from "@rspp/ports/vad";
import { describeFailure } from "@rspp/rpc/log";
import type { HandoverPort } from "./durable/handover.ts";
import { declarePredecessor, durableWriter, handoverOf } from "./durable/session-durable.ts";
import type { DurableWriter } from "./durable/writer.ts";
import { EffectRunner } from "./effect-runner.ts";
import { EvidenceWriter } from "./evidence-writer.ts";
import { checkIngress, checkVadFrame, type IngressRefusal, inputOf } from "./ingress.ts";
import { IngressRefusals } from "./ingress-refusals.ts";
import { InputQueue } from "./input-queue.ts";
import type { KernelStep } from "./kernel-port.ts";
import { limits } from "./limits.ts";
import { boundLogger, type Logger } from "./logger.ts";
import { SessionMeasures } from "./metrics-session.ts";
import { Observers } from "./observers.ts";
import { type OverloadWatch, overloadWatch } from "./overload-watch.ts";
import { createPayloadStore, type PayloadStore, TAG_SESSION } from "./payload-store.ts";
import { SessionJournal } from "./session-journal.ts";
import { SessionRecording } from "./session-recording.ts";
import { safeReason } from "./session-trace-reasons.ts";
import type { HostedSession, SessionHostPorts, SessionStats } from "./session-types.ts";
import { ViewKeeper } from "./session-view.ts";
import type { StreamId } from "./spool/spool.ts";

type OperatorInput = Extract<InputBody, { type: "operator" }>;

/** One session: a bounded input queue, the journal, the step, its effects (`kernel.md` §1). */
export class SessionHost {
  readonly sessionId: string;
  readonly config: SessionConfig;
  readonly clock: Clock;
  readonly payloads: PayloadStore;
  readonly observers: Observers;
  readonly measures: SessionMeasures;
  readonly evidence: EvidenceWriter;
  readonly viewed: ViewKeeper;
  readonly recording: SessionRecording;
  readonly transport: TransportEnd;
  readonly providers: ProviderPort;
  readonly vad: VadPort | null;
  readonly nodes: NodeHostPort | null;
  readonly logger: Logger;
  private readonly ports: SessionHostPorts;
  private readonly stream: StreamId;
  private readonly state: unknown;
  private readonly runner: EffectRunner;
  private readonly overload: OverloadWatch | null;
  private readonly fns: PureFunctions;
  readonly cancelGraceMs: number;
  private readonly queue = new InputQueue();
  /** What the step under way has been answered so far. */
  private readonly asked: Fact[] = [];
  private readonly detects: boolean;
  private readonly journal: SessionJournal;
  private readonly refused = new IngressRefusals();
  private readonly durable: DurableWriter | null;
  private phase = "connecting";
  private reason = "";
  private media = 0;
  private seq = 0;
  private batches = 0;
  private effects = 0;
  private mediaDropped = 0;
  private ignored = 0;
  private chunksRefusedCount = 0;
  private newestUs = 0;
  private polledAudio = false;
  private polledUrgent = 0;
  private stepping = false;
  private runnable = false;
  private failing = "";
  private over = false;
  private force: TimerHandle | null = null;
  private connect: TimerHandle | null = null;
  /** Set where a step that is under way is to be the last one. */
  private discard = "";

  /** @param traceparent of who opened the session; "" for none. */
  constructor(open: HostedSession, ports: SessionHostPorts) {
    const { config, transport, keepJournal, traceparent } = open;
    this.config = config;
    this.sessionId = config.sessionId;
    this.transport = transport;
    this.ports = ports;
    this.clock = ports.clock;
    this.providers = ports.providers;
    this.vad = ports.vad;
    this.nodes = ports.nodes;
    const { sessionId, graph } = config;
    this.logger = boundLogger(ports.logger, { session_id: sessionId, pipeline: graph.pipelineVersion });
    this.cancelGraceMs = config.budgets.cancelGraceMs;
    this.detects = config.graph.nodes.some((node) => node.kind === "vad");
    this.stream = { tenantId: config.tenantId, sessionId, epoch: config.authority.epoch };
    this.journal = new SessionJournal(ports.kernel, ports.spool, this.stream, config, keepJournal);
    this.observers = new Observers(ports.defer);
    this.viewed = new ViewKeeper(config, ports.clock.wallMs());
    this.recording = new SessionRecording(config, ports, this.stream, this.journal, (body) => this.submit(body));
    const keepLate = config.policy.lateEvents === "remap";
    this.payloads = createPayloadStore({ keepLate, ...this.recording.payloadOptions() });
    const quota = config.recording.evidenceQuotaBytes;
    this.evidence = new EvidenceWriter(ports.spool, this.stream, ports.clock, quota, {
      appendFailed: (turn, exhausted, detail) => this.appendFailed(turn, exhausted, detail),
      lost: (record, detail) => this.evidenceLost(record, detail),
      quota: (evidenceQuotaBytes) =>
        this.submit({ type: "capacity", admit: true, outcome: "defer", reason: "", evidenceQuotaBytes }),
    });
    this.runner = new EffectRunner(this);
    this.overload = overloadWatch(config);
    this.fns = { answer: (question) => this.answer(question) };
    this.state = ports.kernel.createSession(config);
    this.durable = durableWriter(config, ports, this.stream, this.state, (spans) => this.payloads.join(spans));
    const { observers, logger } = this;
    this.measures = new SessionMeasures(config, this.state, { ...ports, observers, logger, traceparent });
    this.start();
  }

  /** From the adapter. Never throws; what is wrong with a message is refused and counted. */
  receive(message: TransportIngress): IngressRefusal | null {
    let refusal = checkIngress(message);
    if (refusal === null && this.detects && message.kind === "audio") refusal = checkVadFrame(message);
    if (refusal !== null) {
      this.refuseIngress(refusal);
      return refusal;
    }
    if (message.kind === "audio") this.receiveAudio(message);
    else this.submit(inputOf(message));
    return null;
  }

  /** Stamps an input and queues it. Control is never dropped: past the bound the session is ended. */
  submit(body: InputBody): void {
    if (this.over || (this.failing !== "" && this.queue.full())) {
      this.ignored += 1;
      return;
    }
    if (body.type === "audio") this.makeRoom();
    this.push(body);
    if (this.queue.full()) this.fail("input_queue_overflow");
  }

  more(): boolean {
    return !this.over && (this.queue.size() > 0 || this.runnable);
  }

  /** One scheduling point. @returns inputs and effects handled. */
  run(): number {
    const { measures } = this;
    const batch = this.poll();
    const pressed = this.overload?.look(batch.monoNs, batch.inputs[0]?.monoNs) ?? null;
    if (pressed !== null) this.submit(pressed);
    this.stepping = true;
    measures.begin();
    let result: KernelStep;
    try {
      result = this.ports.kernel.step(this.state, batch, this.fns);
    } catch (error) {
      this.broken(batch, error);
      return batch.inputs.length + 1;
    }
    this.runnable = result.runnable;
    this.effects += result.effects.length;
    measures.ended("kernel");
    measures.planBuilt(result.effects, batch.monoNs);
    this.journal.take(batch, result);
    measures.ended("journal");
    this.viewed.take(result.effects);
    this.runner.run(result.effects);
    this.durable?.take(result.effects);
    this.payloads.freeLate();
    if (this.newestUs > 0) this.payloads.trimInput(this.newestUs);
    measures.ended("effects");
    if (this.observers.wants("debug")) this.debugStep(batch, result.effects.length);
    this.measureStep(batch);
    measures.stepped(batch.monoNs, result.runnable);
    measures.ended("telemetry");
    this.stepping = false;
    if (this.phase === "ended") this.finish(this.reason, this.failing !== "");
    else if (this.discard !== "") this.end(this.discard);
    return batch.inputs.length + result.effects.length;
  }

  /** Ends the session with a reason; the kernel gets a second to do it in order. */
  fail(reason: string): void {
    if (this.failing !== "" || this.over) return;
    this.failing = reason;
    this.logger.error({ reason }, "session cannot go on");
    const detail = "the session is being ended";
    if (this.observers.wants("error"))
      this.observers.emit({ kind: "error", atNs: this.clock.nowNs(), code: reason, detail });
    this.end(reason);
  }

  /** Asks the kernel to end the session, and ends it by force when it has not within a second. */
  end(reason: string, deadlineMs: number = limits.SESSION_END_FORCE_MS): void {
    if (this.over) return;
    // The kernel's machine has no way from CONNECTING to ENDED (F-138): nothing is open that it could close.
    if (this.phase === "connecting") {
      if (this.stepping) this.discard = reason;
      else this.finish(reason, this.failing !== "");
      return;
    }
    this.push({ type: "operator", command: "end", turn: 0, reason });
    const at = asMonoNs(this.clock.nowNs() + msToNs(deadlineMs));
    this.force ??= this.clock.timerAt(at, () => this.finish(reason, true));
  }

  operator(command: OperatorInput["command"], turn: number, reason: string, mode?: OperatorInput["mode"]): void {
    const nothingOpen = (command === "drain" || command === "hang_up") && this.phase === "connecting";
    if (command === "end" || nothingOpen) this.end(reason);
    else this.submit({ type: "operator", command, turn, reason, ...(mode === undefined ? {} : { mode }) });
  }

  handover(): HandoverPort | null {
    return handoverOf(this.durable, this.ports.kernel, this.state, () => this.finish("migrated", false));
  }

  journalEntries(): JournalEntry[] {
    return this.journal.list();
  }

  stats(): SessionStats {
    const open = this.runner.open();
    return {
      phase: this.phase,
      inputs: this.seq,
      steps: this.batches,
      effects: this.effects,
      queued: this.queue.size(),
      mediaDropped: this.mediaDropped,
      inputsIgnored: this.ignored,
      ingressRefused: this.refused.counts(),
      lastRefusal: this.refused.last,
      chunksRefused: this.chunksRefusedCount,
      evidenceFailures: this.evidence.failures,
      evidenceLost: this.evidence.lost,
      journalEntries: this.journal.size(),
      journalDropped: this.journal.dropped,
      payloads: this.payloads.stats(),
      openInvocations: open.invocations,
      openTimers: open.timers,
    };
  }

  isOver(): boolean {
    return this.over;
  }

  /** Ends it here and now; what is open is cancelled and freed. */
  finish(reason: string, forced: boolean): void {
    if (this.over) return;
    this.over = true;
    this.viewed.view.phase = "ended";
    const stats = this.stats();
    const why = this.failing === "" ? reason : this.failing;
    this.force?.clear();
    this.connect?.clear();
    this.recording.close();
    this.runner.close(why);
    // Before the close: what still waits for its evidence is told now, or never.
    this.evidence.close();
    this.runner.send({ kind: "close", epoch: this.stream.epoch, reason: why });
    const { spool } = this.ports;
    const stateClosed = this.durable?.close(why === "migrated");
    const end = { reason: why, forced, steps: this.batches, evidenceLost: this.evidence.lost };
    this.measures.releaseTurns();
    spool.append(this.stream, "session_end", JSON.stringify(end));
    spool.closeStream(this.stream);
    spool.release(this.stream);
    this.payloads.clear();
    this.queue.clear();
    this.logger.info({ reason: safeReason(why), forced, steps: this.batches }, "session ended");
    this.measures.close(why);
    this.ports.metrics.of.framesDropped.with().add(this.mediaDropped);
    const closed = stateClosed === undefined ? {} : { stateClosed };
    this.ports.ended({ sessionId: this.sessionId, reason: why, forced, stats, ...closed });
  }

  // --- what the effect runner asks of its session ---

  chunkRefused(): void {
    this.chunksRefusedCount += 1;
  }

  firstOutput(invocation: number): void {
    this.runner.firstOutput(invocation);
  }

  outcomeSeen(invocation: number, outcome: OutcomeKind): void {
    this.runner.outcomeSeen(invocation, outcome);
  }

  cancelIgnored(): void {
    this.ports.metrics.count("provider_cancel_ignored");
  }

  status(phase: string, reconnecting: boolean, degraded: boolean, reason: string): void {
    this.phase = phase;
    this.reason = reason;
    if (phase !== "connecting") this.connect?.clear();
    this.measures.phase(phase, reason);
    const told = safeReason(reason);
    this.logger.info({ phase, reconnecting, degraded, reason: told }, "session status");
    if (!this.observers.wants("debug")) return;
    const fields = { phase, reconnecting: String(reconnecting), degraded: String(degraded), reason: told };
    this.observers.emit({ kind: "debug", atNs: this.clock.nowNs(), text: "status", fields });
  }

  levelChanged(level: string): void {
    this.journal.level = level;
  }

  signalLine(effect: Extract<Effect, { type: "signal" }>): void {
    this.journal.signal(effect.event);
  }

  private push(body: InputBody): void {
    const input: Input = { seq: 0, monoNs: this.clock.nowNs(), wallMs: this.clock.wallMs(), body };
    if (!this.queue.push(input)) this.ignored += 1;
    this.ports.ready();
  }

  private start(): void {
    const { tenantId, sessionId, graph, recording } = this.config;
    const epoch = this.stream.epoch;
    const pipeline = graph.pipelineVersion;
    // At L0 no variable and no prompt may enter the record (kernel.md §11).
    const config = recording.ceiling === "L0" ? null : this.config;
    const { ceiling: level, sample } = recording;
    const content = JSON.stringify({ tenantId, sessionId, epoch, pipeline, level, sample, config });
    const result = this.ports.spool.append(this.stream, "session", content);
    if (!result.ok) this.logger.warn({ code: result.code }, "session record not appended");
    declarePredecessor(this.ports.spool, this.stream, this.config);
    const connectBy = asMonoNs(this.clock.nowNs() + msToNs(this.ports.connectMs));
    this.connect = this.clock.timerAt(connectBy, () => this.end("connect_timeout"));
    this.logger.info({ tenant_id: tenantId, level_of_recording: recording.ceiling }, "session opened");
  }

  private receiveAudio(message: Extract<TransportIngress, { kind: "audio" }>): void {
    if (this.over) {
      this.ignored += 1;
      return;
    }
    const { epoch, sequence, mediaUs, durationUs, format, bytes } = message;
    const atNs = this.clock.nowNs();
    const payload = this.payloads.putInputAudio(bytes, mediaUs + durationUs, atNs);
    if (payload === null) return this.fail("payload_bytes_limit");
    if (this.observers.wants("audio")) {
      this.observers.emit({
        kind: "audio",
        atNs,
        direction: "in",
        turn: 0,
        generation: 0,
        mediaUs,
        durationUs,
        format,
        bytes: new Uint8Array(bytes),
      });
    }
    const key = message.idempotencyKey ?? "";
    this.submit({ type: "audio", epoch, sequence, mediaUs, durationUs, format, payload, key });
  }

  /** Under load the oldest frame goes: late audio is worth least. */
  private makeRoom(): void {
    this.media += 1;
    if (this.media <= limits.INPUT_MEDIA_ITEMS_MAX) return;
    const dropped = this.queue.dropAudio();
    if (dropped === null) return;
    this.payloads.free(dropped.payload.ref);
    this.media -= 1;
    this.mediaDropped += 1;
  }

  private poll(): Batch {
    const inputs: Input[] = [];
    this.polledAudio = false;
    this.polledUrgent = Math.min(this.queue.urgentSize(), BATCH_INPUTS_MAX);
    while (inputs.length < BATCH_INPUTS_MAX) {
      const input = this.queue.shift();
      if (input === undefined) break;
      this.seq += 1;
      input.seq = this.seq;
      if (input.body.type === "audio") {
        this.polledAudio = true;
        this.media -= 1;
        this.newestUs = Math.max(this.newestUs, input.body.mediaUs + input.body.durationUs);
      }
      if (input.body.type === "authority") this.rotate(input.body.kind, input.body.epoch);
      inputs.push(input);
    }
    this.batches += 1;
    return { index: this.batches, monoNs: this.clock.nowNs(), wallMs: this.clock.wallMs(), inputs };
  }

  /** Records are chained per (session, epoch): from this step on they belong to the new one (kernel.md §7, §11). */
  private rotate(kind: string, epoch: number): void {
    if (kind !== "rotated" || epoch <= this.stream.epoch) return;
    this.ports.spool.succeed(this.stream, epoch);
    this.stream.epoch = epoch;
    this.viewed.view.epoch = epoch;
  }

  private answer(question: TextQuestion): FactAnswer {
    const answer = this.answerOf(question);
    this.asked.push({ fn: question.fn, answer });
    return answer;
  }

  private answerOf(question: TextQuestion): FactAnswer {
    if (question.fn !== "cut") return this.ports.kernel.evaluateText(question, (spans) => this.payloads.join(spans));
    const text = cutOf(question, (spans) => this.payloads.join(spans));
    const handle = this.payloads.putTextAt(question.ref, text, TAG_SESSION);
    if (handle === null) this.fail("payload_bytes_limit");
    return { chars: text.length, bytes: handle?.bytes ?? 0, hash: handle?.hash ?? "" };
  }

  /** One pass over a step's effects, before they are carried out. */
  private measureStep(batch: Batch): void {
    if (this.asked.length > 0) this.asked.length = 0;
    if (this.polledAudio) {
      const ms = this.ports.kernel.mappingErrorMs(this.state);
      if (ms >= 0) this.ports.metrics.record("media_runtime_mapping_error_ms", msToNs(ms));
    }
    for (let i = 0; i < this.polledUrgent; i++) {
      const input = batch.inputs[i];
      if (input?.body.type === "control")
        this.measures.anchors.preempted(input.body.turn, this.clock.nowNs() - input.monoNs);
    }
  }

  /** A broken invariant ends this session and no other; the batch that broke it is kept, so that it can be repeated. */
  private broken(batch: Batch, error: unknown): void {
    this.stepping = false;
    this.logger.error({ batch: batch.index, ...describeFailure(error) }, "kernel invariant broken");
    this.journal.broken(batch, this.asked, error instanceof Error ? error.message : String(error));
    this.finish("kernel_fault", true);
  }

  private debugStep(batch: Batch, effects: number): void {
    const fields = { batch: batch.index, inputs: batch.inputs.length, effects };
    this.observers.emit({ kind: "debug", atNs: this.clock.nowNs(), text: "step", fields });
  }

  private appendFailed(turn: number, exhausted: boolean, detail: string): void {
    this.logger.error({ turn, exhausted, detail }, "timeline append failed");
    this.submit({ type: "append_failed", turn, exhausted });
  }

  /** Never silent: an error event and a count now, a marker in the spool as soon as it takes one. */
  private evidenceLost(record: TimelineRecord, detail: string): void {
    const turn = "turn" in record ? record.turn : 0;
    this.logger.error({ turn, kind: record.kind, detail }, "evidence given up");
    this.ports.metrics.count("evidence_lost");
    this.measures.tell("evidence_lost", this.evidence.lost, turn, "", "");
    if (!this.observers.wants("error")) return;
    const what = `${record.kind} of turn ${turn} is not recorded: ${detail}`;
    const code = "recording_evidence_unavailable";
    this.observers.emit({ kind: "error", atNs: this.clock.nowNs(), code, detail: what });
  }

  private refuseIngress(refusal: IngressRefusal): void {
    this.refused.note(refusal);
    if (!this.observers.wants("error")) return;
    const detail = `${refusal.field} ${refusal.reason}: ${refusal.remedy}`;
    this.observers.emit({ kind: "error", atNs: this.clock.nowNs(), code: "ingress_refused", detail });
  }
}
