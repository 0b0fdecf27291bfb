import { limits } from "./limits.ts";

/** One session's work. */
export interface Work {
  /** Does one bounded piece, e.g. one step. @returns the units it took; at least 1 is counted. Must not throw. */
  run(): number;
  /** Whether there is another piece to do now. */
  more(): boolean;
}

export interface Task {
  /** Queues the work; nothing happens when it is queued already. */
  ready(): void;
  /** Takes it out for good. */
  remove(): void;
}

export interface Scheduler {
  add(tenantId: string, work: Work): Task;
  /** Tasks waiting for the core. */
  waiting(): number;
  /** Units done so far. */
  units(): number;
}

export interface SchedulerOptions {
  /** Runs `turn` in a later turn of the event loop: setImmediate in production, the simulator's own. */
  defer: (turn: () => void) => void;
  /** Holds a virtual clock while work is waiting, so that computing takes no virtual time. */
  hold?: () => () => void;
  quantum?: number;
  turnUnitsMax?: number;
}

interface Tenant {
  readonly id: string;
  /** Tasks waiting for the core. */
  readonly queue: SessionTask[];
  deficit: number;
  queued: boolean;
  members: number;
}

/**
 * Shares the core over tenants, and within a tenant over its sessions, by deficit round robin (`kernel.md` §4, F-174).
 * A piece of work costs what it turned out to cost, so a deficit may go below zero and is paid back in later rounds.
 */
export function createScheduler(options: SchedulerOptions): Scheduler {
  return new RoundRobin(options);
}

class RoundRobin implements Scheduler {
  private readonly options: SchedulerOptions;
  private readonly quantum: number;
  private readonly turnUnitsMax: number;
  private readonly tenants = new Map<string, Tenant>();
  private readonly round: Tenant[] = [];
  private readonly turn = (): void => this.runTurn();
  private waitingCount = 0;
  private total = 0;
  private deferred = false;
  private release: (() => void) | null = null;

  constructor(options: SchedulerOptions) {
    this.options = options;
    this.quantum = options.quantum ?? limits.SCHEDULER_QUANTUM;
    this.turnUnitsMax = options.turnUnitsMax ?? limits.SCHEDULER_TURN_UNITS_MAX;
  }

  add(tenantId: string, work: Work): Task {
    const tenant = this.tenants.get(tenantId) ?? { id: tenantId, queue: [], deficit: 0, queued: false, members: 0 };
    this.tenants.set(tenantId, tenant);
    tenant.members += 1;
    return new SessionTask(this, tenant, work);
  }

  waiting(): number {
    return this.waitingCount;
  }

  units(): number {
    return this.total;
  }

  ready(task: SessionTask): void {
    this.enqueue(task);
    this.schedule();
  }

  leave(tenant: Tenant): void {
    tenant.members -= 1;
    if (tenant.members === 0) this.tenants.delete(tenant.id);
  }

  private enqueue(task: SessionTask): void {
    task.queued = true;
    this.waitingCount += 1;
    const { tenant } = task;
    tenant.queue.push(task);
    if (tenant.queued) return;
    tenant.queued = true;
    this.round.push(tenant);
  }

  private schedule(): void {
    if (this.deferred) return;
    this.deferred = true;
    this.release ??= this.options.hold?.() ?? null;
    this.options.defer(this.turn);
  }

  private runTurn(): void {
    this.deferred = false;
    let left = this.turnUnitsMax;
    while (left > 0) {
      const tenant = this.round.shift();
      if (tenant === undefined) break;
      const used = this.runTenant(tenant, left);
      left -= used;
      this.total += used;
      if (tenant.queue.length > 0) this.round.push(tenant);
      else tenant.queued = false;
    }
    if (this.round.length > 0) this.schedule();
    else if (!this.deferred) {
      this.release?.();
      this.release = null;
    }
  }

  private runTenant(tenant: Tenant, left: number): number {
    tenant.deficit += this.quantum;
    let used = 0;
    while (tenant.deficit > 0 && used < left) {
      const task = tenant.queue.shift();
      if (task === undefined) break;
      task.queued = false;
      this.waitingCount -= 1;
      if (task.removed) continue;
      const units = this.runTask(task, left - used);
      tenant.deficit -= units;
      used += units;
    }
    if (tenant.queue.length === 0) tenant.deficit = Math.min(tenant.deficit, 0);
    return used;
  }

  private runTask(task: SessionTask, left: number): number {
    task.deficit += this.quantum;
    task.running = true;
    let used = 0;
    while (task.deficit > 0 && used < left && task.wanted()) {
      const units = Math.max(1, task.work.run());
      task.deficit -= units;
      used += units;
    }
    task.running = false;
    if (task.wanted()) this.enqueue(task);
    else task.deficit = Math.min(task.deficit, 0);
    return used;
  }
}

class SessionTask implements Task {
  readonly work: Work;
  readonly tenant: Tenant;
  deficit = 0;
  queued = false;
  running = false;
  removed = false;
  private readonly scheduler: RoundRobin;

  constructor(scheduler: RoundRobin, tenant: Tenant, work: Work) {
    this.scheduler = scheduler;
    this.tenant = tenant;
    this.work = work;
  }

  ready(): void {
    if (!this.queued && !this.running && !this.removed) this.scheduler.ready(this);
  }

  wanted(): boolean {
    return !this.removed && this.work.more();
  }

  remove(): void {
    if (this.removed) return;
    this.removed = true;
    this.scheduler.leave(this.tenant);
  }
}
