import { asMonoNs, msToNs } from "@rspp/base/brand";
import { verifySpool } from "@rspp/runtime/spool/reader";
import { scanStore } from "@rspp/runtime/spool/scan";
import { capabilitiesOf } from "./capabilities.ts";
import { AcknowledgedChecker } from "./checkers/acknowledged.ts";
import { BoundsChecker } from "./checkers/bounds.ts";
import { BudgetChecker } from "./checkers/budget.ts";
import type { Checker, RunEnd } from "./checkers/checker.ts";
import { CreditChecker } from "./checkers/credit.ts";
import { DeliveryChecker } from "./checkers/delivery.ts";
import { DialogueChecker } from "./checkers/dialogue.ts";
import { EpochChecker } from "./checkers/epoch.ts";
import { EvidenceChecker } from "./checkers/evidence.ts";
import { FairnessChecker } from "./checkers/fairness.ts";
import { FenceChecker } from "./checkers/fence.ts";
import { HeardChecker } from "./checkers/heard.ts";
import { HearingChecker } from "./checkers/hearing.ts";
import { LifecycleChecker } from "./checkers/lifecycle.ts";
import { LineChecker } from "./checkers/line.ts";
import { LivenessChecker } from "./checkers/liveness.ts";
import { NodesChecker } from "./checkers/nodes.ts";
import { OrderChecker } from "./checkers/order.ts";
import { PosturesChecker } from "./checkers/postures.ts";
import { ReplayChecker } from "./checkers/replay.ts";
import { SyncChecker } from "./checkers/sync.ts";
import { TextOnlyChecker } from "./checkers/text-only.ts";
import { TimersChecker } from "./checkers/timers.ts";
import { ToolsChecker } from "./checkers/tools.ts";
import { type Coverage, coverageListener, newCoverage } from "./coverage.ts";
import { Faults } from "./faults.ts";
import type { Life } from "./life.ts";
import { moduleDiffers } from "./spec-graphs.ts";
import { Workload } from "./workload.ts";
import { type Injected, type RunOptions, World } from "./world.ts";

export interface Failure {
  checker: string;
  problem: string;
}

export interface SeedResult {
  seed: number;
  ok: boolean;
  failures: Failure[];
  hash: string;
  events: number;
  turns: number;
  virtualMinutes: number;
  coverage: Coverage;
  /** Faults that were drawn, in order. */
  injected: readonly Injected[];
  /** Things the caller did. */
  actions: number;
  lines: readonly string[];
}

const horizonMs = 1_800_000;
const answerTries = 3;
const exportMs = 2_000;

/** One run, from one number. */
export function runSeed(seed: number, options: RunOptions = {}): SeedResult {
  const { keepLines = false } = options;
  const world = new World(seed, options);
  const coverage = newCoverage(capabilitiesOf(world.graph, world.pipeline?.policy));
  const checkers = createCheckers(world);
  const seen = coverageListener(coverage);
  world.trace.listen((event, atNs) => {
    seen(event);
    for (const checker of checkers) checker.see(event, atNs);
  });
  const run = new Run(world);
  const failures: Failure[] = [];
  try {
    run.start();
    const end = asMonoNs(msToNs(horizonMs));
    while (!run.over) {
      const next = world.clock.nextNs();
      if (next === null || next > end) break;
      world.clock.jump();
    }
    const facts = run.facts(coverage);
    for (const checker of checkers) checker.end(facts);
    options.onEnd?.(world);
  } catch (error) {
    const { message, stack = "" } = error instanceof Error ? error : new Error(String(error));
    failures.push({
      checker: "no_throw",
      problem: keepLines ? stack : `${message} ${stack.split("\n")[1]?.trim() ?? ""}`,
    });
  }
  if (world.pipeline !== null && moduleDiffers(world.pipeline))
    failures.push({ checker: "modules", problem: "a module is not what it stands for" });
  for (const { name, problems } of checkers) for (const problem of problems) failures.push({ checker: name, problem });
  return {
    seed,
    ok: failures.length === 0,
    failures,
    hash: world.trace.hash(),
    events: world.trace.events(),
    turns: coverage.rows.T5,
    virtualMinutes: world.clock.nowNs() / 60e9,
    coverage,
    injected: world.injected,
    actions: run.actions(),
    lines: world.trace.lines(),
  };
}

/** What an onlooker may know of the pipeline: it is published. */
function createCheckers({ graph, pipeline, policy }: World): Checker[] {
  const stands = graph.nodes.flatMap(({ id, fallback }) => (fallback === undefined ? [] : [id]));
  return [
    new NodesChecker(new Set(stands)),
    new ToolsChecker(graph),
    new PosturesChecker(graph),
    new SyncChecker(graph),
    new LineChecker(),
    new DialogueChecker(pipeline?.policy ?? policy),
    new TextOnlyChecker(graph),
    new LifecycleChecker(),
    new DeliveryChecker(),
    new FenceChecker(),
    new EpochChecker(),
    new OrderChecker(),
    new BoundsChecker(),
    new EvidenceChecker(),
    new ReplayChecker(),
    new LivenessChecker(),
    new TimersChecker(),
    new HeardChecker(),
    new BudgetChecker(graph),
    new AcknowledgedChecker(),
    new CreditChecker(),
    new FairnessChecker(),
    new HearingChecker(),
  ];
}

/** Safety phase, then heal and liveness phase. */
class Run {
  over = false;
  readonly #world: World;
  readonly #faults: Faults;
  readonly #workload: Workload;
  #answered = false;
  /** The turn that was opened after healing, once there is one. */
  #lastTurn = 0;
  #watching = false;

  constructor(world: World) {
    this.#world = world;
    this.#faults = new Faults(world);
    this.#workload = new Workload(
      world,
      (done) => this.#faults.between(done),
      () => this.#heal(),
    );
    world.trace.listen((event) => {
      if (event.kind !== "adapter_sends" || event.message.kind !== "delivery" || !this.#watching) return;
      const { turn, state } = event.message;
      if (state === "completed" && turn > this.#lastTurn) this.#answered = true;
    });
  }

  start(): void {
    const world = this.#world;
    if (world.skewed) world.fault("clock_skew");
    world.adapter.start();
    world.runtimes[0].takeOver();
    this.#workload.until(
      () => world.adapter.online(),
      5_000,
      () => {
        world.dial.percent = 12;
        world.watchHeld();
        this.#workload.next();
      },
    );
  }

  #heal(): void {
    const world = this.#world;
    world.trace.add({ kind: "note", text: "healed" });
    this.#faults.heal();
    this.#workload.after(1_500, () => world.ensureHeld());
    this.#workload.after(3_000, () => {
      world.adapter.comeBack();
      this.#ask(answerTries);
    });
  }

  actions(): number {
    return this.#workload.actions;
  }

  /** A last utterance; one of several may meet the tail of what was broken. */
  #ask(tries: number): void {
    const world = this.#world;
    this.#watching = true;
    this.#lastTurn = world.adapter.turnSeen;
    world.adapter.device.unmute();
    this.#workload.speak(300);
    this.#workload.until(
      () => this.#answered,
      9_000,
      () => {
        if (!this.#answered && tries > 1) return this.#ask(tries - 1);
        this.#workload.quiet(() => this.#exported());
      },
    );
  }

  /** What was recorded last, e.g. of a sentence that the agent said by itself, has its time to be exported. */
  #exported(): void {
    const world = this.#world;
    const all = (): boolean => world.runtimes.every((runtime) => exportFacts(runtime, world).unacked === 0);
    this.#workload.until(all, exportMs, () => {
      this.over = true;
    });
  }

  facts(coverage: Coverage): RunEnd {
    const world = this.#world;
    const { device, samplesAfterFenceBefore } = world.adapter;
    const samplesAfterFence = samplesAfterFenceBefore + device.stats().samplesAfterFence;
    return {
      lives: world.lives.map((life) => lifeFacts(life, coverage)),
      spools: world.runtimes.map(({ proc, store }) => ({ proc: proc.name, problems: verifySpool(store).problems })),
      tornOrdered: this.#faults.torn,
      samplesAfterFence,
      endNs: world.clock.nowNs(),
      answered: this.#answered,
      stored: new Map([...world.replay.stored].map(([key, { chains }]) => [key, chains])),
      spooled: spooled(world),
      exports: world.runtimes.map((runtime) => ({ proc: runtime.proc.name, ...exportFacts(runtime, world) })),
    };
  }
}

function spooled(world: World): Map<string, number> {
  const last = new Map<string, number>();
  for (const { proc, store } of world.runtimes) {
    scanStore(
      store,
      ({ sessionId, epoch, seq }) => {
        const key = `${proc.name} ${epoch}/${sessionId}`;
        last.set(key, Math.max(last.get(key) ?? 0, seq));
      },
      () => {},
    );
  }
  return last;
}

function exportFacts(runtime: World["runtimes"][number], world: World): { halted: string; unacked: number } {
  let halted = "";
  let unacked = 0;
  for (const stream of Object.values(runtime.exporting.state.streams)) {
    halted ||= stream.halted ?? "";
    // A predecessor's tail is refused by its epoch: declared loss, not export.
    const current = runtime === world.holder() && stream.id.epoch === runtime.holder?.state.epoch;
    if (current) unacked += stream.appended - stream.acked;
  }
  return { halted, unacked };
}

function lifeFacts(life: Life, coverage: Coverage): RunEnd["lives"][number] {
  const stats = life.session?.stats() ?? null;
  const replayed = life.replay();
  if (replayed !== null) coverage.rows.T11 += replayed.state.counters.lateDropped;
  return {
    id: life.id,
    session: life.config.sessionId,
    crashed: life.wasCrashed,
    lostAtEnd: life.lostAtEnd,
    over: life.over,
    endedBecause: life.endedBecause,
    leftOpen:
      stats === null
        ? null
        : { invocations: stats.openInvocations, timers: stats.openTimers, payloadItems: stats.payloads.items },
    replayProblem: replayed?.problem ?? null,
  };
}
