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

interface TaskNode extends Task {
  readonly work: Work;
  readonly tenant: Tenant;
  deficit: number;
  queued: boolean;
  running: boolean;
  removed: boolean;
}

interface Tenant {
  readonly id: string;
  readonly queue: TaskNode[];
  deficit: number;
  queued: boolean;
  members: number;
}

/**
 * Shares the core over tenants, and within a tenant over its sessions, by deficit round robin (`kernel.md` §4, F-174).
 * A piece of work costs what it turned out to cost, so a deficit may go below zero and is paid back in later rounds.
 */
export function createScheduler(options: SchedulerOptions): Scheduler {
  const quantum = options.quantum ?? limits.SCHEDULER_QUANTUM;
  const turnUnitsMax = options.turnUnitsMax ?? limits.SCHEDULER_TURN_UNITS_MAX;
  const tenants = new Map<string, Tenant>();
  const round: Tenant[] = [];
  let waiting = 0;
  let total = 0;
  let deferred = false;
  let release: (() => void) | null = null;

  const enqueue = (task: TaskNode): void => {
    task.queued = true;
    waiting += 1;
    const { tenant } = task;
    tenant.queue.push(task);
    if (!tenant.queued) {
      tenant.queued = true;
      round.push(tenant);
    }
  };
  const schedule = (): void => {
    if (deferred) return;
    deferred = true;
    release ??= options.hold?.() ?? null;
    options.defer(turn);
  };
  const runTask = (task: TaskNode, left: number): number => {
    task.deficit += quantum;
    task.running = true;
    let used = 0;
    while (task.deficit > 0 && used < left && !task.removed && task.work.more()) {
      const units = Math.max(1, task.work.run());
      task.deficit -= units;
      used += units;
    }
    task.running = false;
    if (!task.removed && task.work.more()) enqueue(task);
    else task.deficit = Math.min(task.deficit, 0);
    return used;
  };
  const runTenant = (tenant: Tenant, left: number): number => {
    tenant.deficit += quantum;
    let used = 0;
    while (tenant.deficit > 0 && used < left) {
      const task = tenant.queue.shift();
      if (task === undefined) break;
      task.queued = false;
      waiting -= 1;
      if (task.removed) continue;
      const units = runTask(task, left - used);
      tenant.deficit -= units;
      used += units;
    }
    if (tenant.queue.length === 0) tenant.deficit = Math.min(tenant.deficit, 0);
    return used;
  };
  const turn = (): void => {
    deferred = false;
    let left = turnUnitsMax;
    while (left > 0) {
      const tenant = round.shift();
      if (tenant === undefined) break;
      const used = runTenant(tenant, left);
      left -= used;
      total += used;
      if (tenant.queue.length > 0) round.push(tenant);
      else tenant.queued = false;
    }
    if (round.length > 0) schedule();
    else if (!deferred) {
      release?.();
      release = null;
    }
  };

  return {
    add(tenantId, work) {
      const tenant = tenants.get(tenantId) ?? { id: tenantId, queue: [], deficit: 0, queued: false, members: 0 };
      tenants.set(tenantId, tenant);
      tenant.members += 1;
      const task: TaskNode = {
        work,
        tenant,
        deficit: 0,
        queued: false,
        running: false,
        removed: false,
        ready() {
          if (task.queued || task.running || task.removed) return;
          enqueue(task);
          schedule();
        },
        remove() {
          if (task.removed) return;
          task.removed = true;
          tenant.members -= 1;
          if (tenant.members === 0) tenants.delete(tenantId);
        },
      };
      return task;
    },
    waiting: () => waiting,
    units: () => total,
  };
}
